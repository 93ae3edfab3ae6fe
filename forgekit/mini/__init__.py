"""The embedded world: a small, exactly known domain to draw, to judge and to make mistakes in on purpose."""

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"  # of the embedded generator and judges; `training/` made them
