"""What rewriting changed in the prompts themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forgekit.store import Store

if TYPE_CHECKING:
    import pandas as pd

REWRITES = """
select
    c.experiment,
    s.scene_text,
    p.prompt_text as before,
    c.prompt_text as after,
    v.pairs,
    v.change
from prompts c
join prompts p on p.id = c.parent_prompt_id
join scenes s on s.scene_hash = c.scene_hash
join steering_judges j on j.experiment = c.experiment
join version_changes v on v.prompt_id = c.id and v.vision_model = j.vision_model
where ($experiment is null or c.experiment = $experiment)
  and c.prompt_text <> p.prompt_text
order by abs(v.change) desc, c.id
"""


def rewrites(store: Store, *, experiment: str | None = None) -> pd.DataFrame:
    """Return what rewriting a prompt changed: one row per rewritten version, the largest change first.

    Columns: `scene_text`, the prompt `before` and `after`, and by the judge that steers the `change` of the score, mean
    over the `pairs` of images that share a seed. The first rows are picked for their size: larger than they would be
    again.
    """
    return store.df(REWRITES, experiment=experiment)
