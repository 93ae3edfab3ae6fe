"""What requests in flight gain where a server takes its time: throughput at 16 in flight over that of one at a time, by role.

    python benchmarks/served.py [--latency-ms 50] [--in-flight 16] [--requests 64] [--json]

The server is one on loopback that waits for the latency and then says what it was told to: what is measured is the way to it.
`stage`: the same for `complete_prompts`, whose conversations wait side by side but work, and commit, one at a time.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))


def seconds(work) -> float:
    """Return how long `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--latency-ms", type=float, default=50.0)
    parser.add_argument("--in-flight", type=int, default=16)
    parser.add_argument("--requests", type=int, default=64)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    import pandas as pd
    from PIL import Image
    from served_models import chat, picture, serving

    import forgekit as fk
    from forgekit.models import DrawRequest
    from forgekit.models.language import EndpointLanguageModel
    from forgekit.models.served import ServedGenerator
    from forgekit.models.served_judge import ServedJudge
    from forgekit.scene import Scene, parse

    yes = {"content": [{"token": "Yes", "top_logprobs": [{"token": "Yes", "logprob": -0.1}]}]}
    drawn = picture(Image.new("RGB", (64, 64)))
    red, image = Scene("a red circle", parse("a red circle")), Image.new("RGB", (64, 64))

    def answer(path, body):
        time.sleep(options.latency_ms / 1000)
        if path.endswith("generations"):
            return drawn
        text = body["messages"][0]["content"]
        scene = text.rpartition("Scene: ")[2].strip() if isinstance(text, str) else "Yes"
        return chat(f"<PROMPT>{scene}</PROMPT>", logprobs=yes if body.get("logprobs") else None)

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

    roles = {
        "image generator": lambda url, n: seconds(
            lambda: ServedGenerator("m", url, "m", in_flight=n).draw(
                [DrawRequest("a", seed) for seed in range(options.requests)]
            )
        ),
        "vision model": judge,
        "language model": lambda url, n: seconds(
            lambda: EndpointLanguageModel("m", url, "m", in_flight=n).generate(["a"] * options.requests)
        ),
        "stage": completed,
    }
    with serving(answer) as url:
        for role in roles.values():  # what is made once: the client's library, the embedded model's tokenizers
            role(url, options.in_flight)
        rows = {
            name: {"alone_s": role(url, 1), "together_s": role(url, options.in_flight)} for name, role in roles.items()
        }
    for row in rows.values():
        row["gain"] = row["alone_s"] / row["together_s"]
    if options.json:
        print(json.dumps(rows, indent=2))
    else:
        for name, row in rows.items():
            print(
                f"{name}: {row['alone_s']:.2f} s one at a time, {row['together_s']:.2f} s together: {row['gain']:.1f}×"
            )


if __name__ == "__main__":
    main()
