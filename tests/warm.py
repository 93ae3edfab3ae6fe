"""Commands as processes of their own that start at once: forked from one that has imported the libraries already."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.process import BaseProcess
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["diffusers.pipelines.flux.pipeline_flux", "diffusers.pipelines.auto_pipeline", "open_clip"]
)


def start(*words: str, told: Path | str = os.devnull) -> BaseProcess:
    """Start `forgekit WORDS…`, one thread for torch; what it prints goes to the file `told`. Killing it kills nothing else."""
    process = _FORKS.Process(target=_command, args=(words, str(told)), daemon=True)
    process.start()
    return process


def run(*words: str, told: Path) -> str:
    """Run `forgekit WORDS…` to its end, which must be a good one, and return what it printed."""
    process = start(*words, told=told)
    process.join()
    assert process.exitcode == 0, told.read_text()
    return told.read_text()


def _command(words: tuple[str, ...], told: str) -> None:
    import torch

    from forgekit.cli import main

    torch.set_num_threads(1)
    place = os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(place, 1)
    os.dup2(place, 2)
    sys.exit(main(words))
