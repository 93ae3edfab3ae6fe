"""A store at a glance: its experiments, and the headline that `forgekit adherence` and `make loop` print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from forgekit.errors import ParameterError, did_you_mean
from forgekit.progress import as_text
from forgekit.store import Store
from forgekit.trends.rounds import adherence, confirmed, gain

if TYPE_CHECKING:
    import pandas as pd

NOTE = """adherence is cross-fitted: no image judges a version that it helped to choose (docs/trends.md). selected and
best_image are of the best version so far, by the images that chose it: they would rise by luck alone."""


@dataclass(frozen=True)
class Overview:
    """Three tables of `trends`; printed, those of them that have rows."""

    adherence: pd.DataFrame
    gain: pd.DataFrame
    confirmed: pd.DataFrame

    def __str__(self) -> str:
        parts = [
            ("By round", self.adherence),
            ("Gain from round 0 to the last, within scenes", self.gain),
            ("The chosen versions on fresh seeds", self.confirmed),
        ]
        tables = [f"{title}\n{as_text(table)}" for title, table in parts if len(table)]
        return "\n\n".join([*tables, NOTE]) if tables else "Nothing is judged yet; run `forgekit evaluate` first"


def arms(store: Store, study: str | None = None) -> list[str]:
    """Return the experiments of a study: the one of that name and all `study`/…; None for all in the store.

    Raises:
        ParameterError: there is no such experiment.
    """
    known = [row["experiment"] for row in store.rows("select distinct experiment from prompts order by all")]
    wanted = [name for name in known if study is None or name == study or name.startswith(f"{study}/")]
    if study is not None and not wanted:
        listed = ", ".join(known) or "none yet"
        raise ParameterError(f"no experiment is called {study!r}.{did_you_mean(study, known)} The store has: {listed}")
    return wanted


def overview(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> Overview:
    """Tell how faithful the images are: by round, what was gained, and what fresh seeds say of it.

    Args:
        experiment: only this one.
        vision_model: only this judge.
    """
    about = {"experiment": experiment, "vision_model": vision_model}
    return Overview(adherence(store, **about), gain(store, **about), confirmed(store, **about))
