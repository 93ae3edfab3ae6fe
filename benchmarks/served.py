"""What requests in flight gain where a server takes its time: throughput at 16 in flight over that of one at a time, by role.

    python benchmarks/served.py [--latency-ms 50] [--in-flight 16] [--requests 64] [--json]

The server is a process of its own on loopback that waits for the latency and then says what it was told to: what is measured is
the way to it, which takes some milliseconds of processor time a request (`processor_ms`).
`stage`: the same for `complete_prompts`, whose conversations wait side by side but work, and commit, one at a time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TQDM_DISABLE", "1")

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def seconds(work) -> float:
    """Return how long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def serve(latency_s: float, told: Any) -> None:
    """Serve until this process is ended; the address is put into `told`."""
    from PIL import Image
    from served_models import chat, picture, serving

    yes = {"content": [{"token": "Yes", "top_logprobs": [{"token": "Yes", "logprob": -0.1}]}]}
    drawn = picture(Image.new("RGB", (64, 64)))

    def answer(path, body):
        time.sleep(latency_s)
        if path.endswith("generations"):
            return drawn
        text = body["messages"][0]["content"]
        scene = text.rpartition("Scene: ")[2].strip() if isinstance(text, str) else "Yes"
        return chat(f"<PROMPT>{scene}</PROMPT>", logprobs=yes if body.get("logprobs") else None)

    with serving(answer) as url:
        told.put(url)
        threading.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    import pandas as pd
    from PIL import Image

    import forgekit as fk
    from forgekit.models import DrawRequest
    from forgekit.models.language import EndpointLanguageModel
    from forgekit.models.served_generator import ServedGenerator
    from forgekit.models.served_judge import ServedJudge
    from forgekit.scene import Scene, parse

    red, image = Scene("a red circle", parse("a red circle")), Image.new("RGB", (64, 64))

    def completed(url: str, in_flight: int) -> float:
        with tempfile.TemporaryDirectory() as folder:
            store = fk.open_store(Path(folder) / "forge.duckdb")
            texts = [f"a red circle above {n} blue squares" for n in range(2, 2 + options.requests)]
            fk.import_prompts(store, pd.DataFrame({"prompt": texts}))
            return seconds(lambda: fk.complete_prompts(store, language_model=f"{url}#m?in_flight={in_flight}"))

    def judge(url: str, in_flight: int) -> float:
        model = ServedJudge("m", url, "m", in_flight=in_flight, ask_by="logprobs")
        images = max(1, options.requests // 4)  # four requests each
        return seconds(lambda: model.judge([image] * images, [red] * images))

    def drawn(url: str, in_flight: int) -> float:
        model = ServedGenerator("m", url, "m", in_flight=in_flight)
        model.draw([DrawRequest("a", options.requests)])  # the first picture is drawn twice, once and for all
        return seconds(lambda: model.draw([DrawRequest("a", seed) for seed in range(options.requests)]))

    roles = {
        "image generator": drawn,
        "vision model": judge,
        "language model": lambda url, n: seconds(
            lambda: EndpointLanguageModel("m", url, "m", in_flight=n).generate(["a"] * options.requests)
        ),
        "stage": completed,
    }
    told: Any = multiprocessing.get_context("spawn").Queue()
    server = multiprocessing.get_context("spawn").Process(
        target=serve, args=(options.latency_ms / 1000, told), daemon=True
    )
    server.start()
    rows = {}
    try:
        url = told.get(timeout=120)
        for name, role in roles.items():
            role(url, options.in_flight)  # what is made once: the client's library, the embedded model's tokenizers
            began = time.process_time()
            together = role(url, options.in_flight)
            processor = (time.process_time() - began) / options.requests
            alone = role(url, 1)
            rows[name] = {
                "alone_s": alone,
                "together_s": together,
                "gain": alone / together,
                "processor_ms": processor * 1000,
            }
    finally:
        server.terminate()
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        for name, row in rows.items():
            print(
                f"{name}: {row['alone_s']:.2f} s one at a time, {row['together_s']:.2f} s together: {row['gain']:.1f}×"
            )


if __name__ == "__main__":
    main()
