"""Time the trend queries on a store of ten million evaluations, a contact sheet and the gallery of 500 images.

    python benchmarks/trends.py [--evaluations 10000000] [--store /tmp/forgekit-trends] [--json]

The store is filled with made-up scores by SQL once, under the real schema, and kept for the next run.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from forgekit.store import Store, open_store

QUESTIONS = ("adherence", "distributions")
JUDGES = 4
SEEDS = 50
ITERATIONS = 5

UUID = "md5('{kind}' || ({number})::varchar)::uuid"
PROMPT, IMAGE, EVALUATION = (UUID.replace("{kind}", kind) for kind in ("prompt", "image", "evaluation"))

FILL = (
    "insert into scenes (scene_hash, scene_text) select sha256('scene' || i), 'scene ' || i from range($scenes) t(i)",
    f"""
    insert into prompts
        (id, scene_hash, model, prompt_text, base_parameters, generation_iteration, status, best_image_id,
         current_score)
    select {PROMPT.format(number="i")}, sha256('scene' || i // {ITERATIONS}), 'mini', 'a prompt', '{{}}',
        i % {ITERATIONS}, 'archived', {IMAGE.format(number=f"i * {SEEDS}")},
        least(1, 0.4 + 0.1 * (i % {ITERATIONS}) + 0.1 * random())
    from range($scenes * {ITERATIONS}) t(i)
    """,
    f"""
    insert into generated_images
        (id, prompt_id, image_path, generation_metadata, evaluation_details, adherence_score, round, image_index)
    select {IMAGE.format(number="i")}, {PROMPT.format(number=f"i // {SEEDS}")}, 'images/' || i || '.png',
        '{{"seed": ' || i % {SEEDS} || '}}', '{{"vision_model": "judge-0"}}', random(),
        i // {SEEDS} % {ITERATIONS}, i % {SEEDS}
    from range($start * {SEEDS}, $stop * {SEEDS}) t(i)
    """,
    f"""
    insert into image_evaluations
        (id, image_id, prompt_id, scene_hash, vision_model, element_scores, soft_tifa_am, soft_tifa_gm, judge_key)
    select {EVALUATION.format(number="i")}, {IMAGE.format(number=f"i // {JUDGES}")},
        {PROMPT.format(number=f"i // {JUDGES * SEEDS}")}, sha256('scene' || i // {JUDGES * SEEDS * ITERATIONS}),
        'judge-' || i % {JUDGES},
        json_object('object:0', round(random(), 4), 'color:0', round(random(), 4), 'relation:0', round(random(), 4)),
        random(), random(), sha256('judge' || i % {JUDGES})
    from range($start * {SEEDS * JUDGES}, $stop * {SEEDS * JUDGES}) t(i)
    """,
)


def fill(store: Store, evaluations: int) -> None:
    """Fill an empty store with about that many evaluations, a fiftieth of the prompts per transaction."""
    scenes = max(1, evaluations // (ITERATIONS * SEEDS * JUDGES))
    with store.transaction() as con:
        con.execute(FILL[0], {"scenes": scenes})
        con.execute(FILL[1], {"scenes": scenes})
    step = max(1, scenes * ITERATIONS // 50)
    for start in range(0, scenes * ITERATIONS, step):
        with store.transaction() as con:
            for statement in FILL[2:]:
                con.execute(statement, {"start": start, "stop": min(start + step, scenes * ITERATIONS)})


def ask(store: Store, question: str) -> dict[str, float]:
    """Return the seconds of the second of two calls (of the clock, and of all cores together) and the peak memory of
    this process in GiB.
    """
    from forgekit import trends

    for _ in range(2):
        started, worked = time.perf_counter(), time.process_time()
        rows = len(getattr(trends, question)(store))
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "peak_gib": round(peak, 2),
        "rows": rows,
    }


def contact_sheet(images: int = 500) -> dict[str, float]:
    """Time a contact sheet of that many pictures of 512 × 512 pixels with their labels, reading the files included."""
    import numpy as np
    import pandas as pd
    from PIL import Image

    from forgekit.show import plots

    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        files = [f"{folder}/{i}.png" for i in range(images)]
        for file in files:
            Image.fromarray(rng.integers(0, 255, (16, 16, 3), np.uint8)).resize((512, 512)).save(file)
        table = pd.DataFrame(
            {
                "file": files,
                "prompt_id": [f"version {i // 10}" for i in range(images)],
                "prompt_text": "a red circle to the left of a blue square",
                "seed": range(images),
                "score": rng.random(images),
                "failed": [["a red circle"] * (i % 2) for i in range(images)],
            }
        )
        started, worked = time.perf_counter(), time.process_time()
        sheet = plots.contact_sheet(table)
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - worked
    return {
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "images": images,
        "width": sheet.width,
        "height": sheet.height,
    }


def gallery(images: int = 500) -> dict[str, float]:
    """Time what the gallery asks about that many pictures of 1024 × 1024 pixels: how long, and how many bytes are sent."""
    import numpy as np
    import pandas as pd
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    import forgekit as fk
    from forgekit.models import Judgement
    from forgekit.scene import list_elements
    from forgekit.show.gallery import Answers, begin
    from forgekit.show.selection import Selection

    class Judge:
        name, adhering_at, judge_key = "constant", 0.5, "1"

        def judge(self, pictures, scenes):
            return [Judgement({e.key: 0.7 for e in list_elements(s.elements)}, text_match_score=0.7) for s in scenes]

    def timed(kind, **about):
        started = time.perf_counter()
        answer = getattr(answers, kind)(**about)
        sent = sum(map(len, answer)) if kind in ("thumbnails", "picture") else len(json.dumps(answer))
        return answer, round(time.perf_counter() - started, 2), round(sent / 1024)

    with tempfile.TemporaryDirectory() as name:
        folder, rng = Path(name), np.random.default_rng(0)
        noise = Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).resize(
            (1024, 1024), Image.Resampling.BICUBIC
        )
        rows = []
        for i in range(images):  # the same pixels in other bytes, as many as of a photograph
            told = PngInfo()
            told.add_text("number", str(i))
            noise.save(folder / f"{i}.png", compress_level=1, pnginfo=told)
            rows.append({"image": f"{i}.png", "prompt": f"a red circle and {i // 10 + 2} blue squares", "seed": i % 10})
        pd.DataFrame(rows).to_csv(folder / "pictures.csv", index=False)
        store = open_store(folder / "store" / "forge.duckdb")
        fk.import_pictures(store, folder / "pictures.csv", model="other")
        fk.evaluate_images(store, vision_models=[Judge()])
        answers, started = Answers(store), time.perf_counter()
        choice = begin(Selection.first(store, None, None, None))["choice"]
        found = {"begin_s": round(time.perf_counter() - started, 2)}
        pages = [timed("page", choice=choice, offset=offset, limit=60) for offset in range(0, images, 60)]
        found |= {"page_s": max(s for _, s, _ in pages), "page_kib": max(kib for *_, kib in pages)}
        ids = [card["id"] for answer, *_ in pages for card in answer["cards"]]
        shown = [timed("thumbnails", ids=ids[at : at + 12]) for at in range(0, images, 12)]
        found |= {"first_12_thumbnails_s": shown[0][1], "all_thumbnails_s": round(sum(s for _, s, _ in shown), 1)}
        found |= {"thumbnails_of_a_page_kib": sum(kib for *_, kib in shown[:5])}
        _, found["full_size_s"], found["full_size_kib"] = timed("picture", id=ids[0])
    return {"images": len(ids), **found}


def main() -> None:
    """Fill the store where needed, ask each question in a process of its own, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluations", type=int, default=10_000_000)
    parser.add_argument("--store", type=Path, default=Path(tempfile.gettempdir()) / "forgekit-trends")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ask", choices=QUESTIONS, help=argparse.SUPPRESS)
    parser.add_argument("--fill", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    store = open_store(arguments.store / f"{arguments.evaluations}.duckdb")
    if arguments.ask:
        print(json.dumps(ask(store, arguments.ask)))
        return
    if arguments.fill:
        fill(store, arguments.evaluations)
        return
    if store.df("select count(*) as n from image_evaluations")["n"][0] == 0:
        # In another process: the peak memory of a process counts that of the one which started it.
        subprocess.run([sys.executable, *sys.argv, "--fill"], check=True)
    results = {}
    for question in QUESTIONS:
        command = [sys.executable, *sys.argv, "--ask", question]
        done = subprocess.run(command, capture_output=True, text=True)
        results[question] = json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr.splitlines()[-1]}
    results |= {"contact_sheet": contact_sheet(), "gallery": gallery()}
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        for name, figures in results.items():
            print(f"{name:16}", ", ".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
