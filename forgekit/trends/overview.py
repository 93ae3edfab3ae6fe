"""The headline of a store as text: what `forgekit adherence` and `make loop` print."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
        tables = [f"{title}\n{_text(table)}" for title, table in parts if len(table)]
        return "\n\n".join([*tables, NOTE]) if tables else "Nothing is judged yet; run `forgekit evaluate` first"


def overview(store: Store, *, experiment: str | None = None, vision_model: str | None = None) -> Overview:
    """Tell how faithful the images are: by round, what was gained, and what fresh seeds say of it.

    Args:
        experiment: only this one.
        vision_model: only this judge.
    """
    return Overview(
        *(
            question(store, experiment=experiment, vision_model=vision_model)
            for question in (adherence, gain, confirmed)
        )
    )


def _text(table: pd.DataFrame) -> str:
    return table.to_string(index=False, float_format="{:.3f}".format, na_rep="")
