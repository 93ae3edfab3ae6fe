"""Random damage to the corpus, for as long as is wanted: no importer may raise what is not ours, or take ten seconds.

python tests/fuzz_importers.py 120   # seconds; the seed of each failure is printed, and 1 returned
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from forgekit.errors import ForgekitError
from forgekit.sources import read
from forgekit.sources.readers import SUFFIXES

CORPUS = Path(__file__).with_name("corpus")
PIECES = (
    b"\0", b"\xff\xfe", b'"', b"{", b"[", b",", b"\r", b"\n", b"\xed\xa0\x80", b"9" * 400, b"a " * 400, b"--steps 9",
    b"&x *x",
)  # fmt: skip


def damaged(seed: int) -> tuple[bytes, str]:
    """One file of the corpus with a few bytes cut, doubled, swapped or put in, under any ending."""
    rng = random.Random(seed)
    path = rng.choice(sorted(CORPUS.glob("*.*")))
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 8)):
        at, to = sorted(rng.choices(range(len(content) + 1), k=2))
        what = rng.randrange(4)
        if what == 0:
            del content[at : min(to, at + 40)]
        elif what == 1:
            content[at:at] = content[at:to][:2000]
        elif what == 2:
            content[at:at] = rng.choice(PIECES)
        elif at < len(content):
            content[at] = rng.randrange(256)
    return bytes(content), rng.choice([path.suffix, path.suffix, *SUFFIXES, ""])


def main(seconds: float) -> int:
    ends, seed, failed = time.monotonic() + seconds, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        while time.monotonic() < ends:
            seed += 1
            content, suffix = damaged(seed)
            path = Path(folder) / f"p{suffix}"
            path.write_bytes(content)
            started = time.process_time()
            try:
                read(path)
            except ForgekitError as error:
                unexpected = "cannot be read: " in str(error) and error.__cause__ is not None
                failed += unexpected
                if unexpected:
                    print(f"seed {seed}: {error}")
            except Exception:
                failed += 1
                print(f"seed {seed}:\n{traceback.format_exc()}")
            if time.process_time() - started > 10:
                failed += 1
                print(f"seed {seed}: {time.process_time() - started:.1f} s")
            path.unlink()
    print(f"{seed} files, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]) if len(sys.argv) > 1 else 60.0))
