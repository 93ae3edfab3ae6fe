"""Time models in pools of Ray's workers against the same models alone.

    python benchmarks/ray_pool.py [--images 32] [--steps 16] [--json]

`speedup_mini`: `mini` draws `--images` pictures in one worker and in two, one thread each; goal 1.8. It needs two processors that
nobody else uses: `load` says how many processes were waiting for one, more than 2 makes it mean little.

`speedup_fixed`: the same for a model that takes 0.1 s a picture and no processor, as a GPU would.

`overhead_mini`: what one worker takes for `mini`'s pictures, over `mini` in this process with one thread, less 1; goal 0.03.

`overhead_large`: what one worker takes for 40 pictures of 1024 × 1024 by the model that takes 0.1 s, over the sleep alone, less 1.
They are sent back as they are, 3 MiB each; of a generator that takes 2 s a picture that is a twentieth of the share.

Starting workers and loading weights are paid once, before.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))

PICTURE_S = 0.1
FIXED = 40  # pictures


class Sleeper:
    """An image generator that takes a fixed time for each picture."""

    name, batch_size = "ray_pool:Sleeper", 4

    def default_parameters(self):
        return {}

    def describe(self):
        return {"repo": "sleeper"}

    def fits(self, prompt):
        return True

    def draw(self, requests):
        from PIL import Image

        from forgekit.models import Drawing

        time.sleep(PICTURE_S * len(requests))
        return [Drawing(Image.new("RGB", (1024, 1024), (request.seed % 256, 0, 0)), {}) for request in requests]


def seconds(name: str, workers: int, count: int, parameters: dict[str, int]) -> float:
    """Return how long a pool, or for no workers the model in this process, takes for `count` pictures, being warm."""
    from forgekit.models import DrawRequest, load_model

    model = load_model("image_generator", f"ray:{name}workers={workers}&gpus=0" if workers else name.rstrip("?&"))
    requests = [DrawRequest("a red circle", seed, model.default_parameters() | parameters) for seed in range(count)]
    model.draw(requests[: 4 * max(1, workers)])
    times = []
    for _ in range(3):
        started = time.perf_counter()
        model.draw(requests)
        times.append(time.perf_counter() - started)
    return min(times)


def main() -> None:
    """Run all and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    arguments = parser.parse_args()
    fixed = [seconds(f"{Sleeper.name}?", workers, FIXED, {}) for workers in (1, 2)]
    mini = [
        seconds("mini?batch_size=4&", workers, arguments.images, {"num_inference_steps": arguments.steps})
        for workers in (0, 1, 2)
    ]
    found = {
        "speedup_mini": mini[1] / mini[2],
        "speedup_fixed": fixed[0] / fixed[1],
        "overhead_mini": mini[1] / mini[0] - 1,
        "overhead_large": fixed[0] / (PICTURE_S * FIXED) - 1,
        "load": os.getloadavg()[0],
    }
    if arguments.json:
        print(json.dumps({name: round(value, 4) for name, value in found.items()}))
    else:
        for name, value in found.items():
            print(f"{name:14} {value:7.3f}")


if __name__ == "__main__":
    main()
