"""Another scheduler for some calls of a pipeline: the parameter `scheduler`, by its class name in diffusers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from forgekit.errors import ParameterError, did_you_mean


def check_scheduler(pipeline: Any, name: Any) -> None:
    """Raise a ParameterError where the pipeline cannot run with the scheduler `name`."""
    known = sorted(each.__name__ for each in getattr(getattr(pipeline, "scheduler", None), "compatibles", ()))
    if name not in known:
        raise ParameterError(
            f"scheduler={name!r} does not go with {type(pipeline).__name__}."
            f"{did_you_mean(str(name), known)} Known: {', '.join(known) or 'none, so leave it out'}"
        )


@contextmanager
def scheduled(pipeline: Any, name: str | None) -> Iterator[None]:
    """Have the pipeline run with the scheduler `name`, set up as its own one is; with its own where that is None.

    Both define how noise is taken away step by step, and share their settings ("Schedulers" in the documentation of diffusers).
    """
    if name is None:
        yield
        return
    import diffusers

    own = pipeline.scheduler
    pipeline.scheduler = getattr(diffusers, name).from_config(own.config)
    try:
        yield
    finally:
        pipeline.scheduler = own
