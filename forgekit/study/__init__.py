"""A study: arms × scenes at an equal image budget, with held-out judges watching; planned, run, and told."""

from forgekit.study.plan import Comparison, Study, load_plan, read_scenes
from forgekit.study.run import run_study, study

__all__ = ["Comparison", "Study", "load_plan", "read_scenes", "run_study", "study"]
