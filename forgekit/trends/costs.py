"""What the model calls took: time, failures, images."""

from __future__ import annotations

from typing import TYPE_CHECKING

from forgekit.store import Store

if TYPE_CHECKING:
    import pandas as pd

COST = """
select
    stage,
    endpoint,
    count(*) as calls,
    count(*) filter (not ok) as failed,
    sum(duration_ms) / 1000 as seconds,
    quantile_cont(duration_ms, 0.5) / 1000 as median_s,
    quantile_cont(duration_ms, 0.95) / 1000 as p95_s,
    min(created_at) as first_call,
    max(created_at) as last_call
from api_logs
group by all
order by seconds desc, stage, endpoint
"""


def cost(store: Store) -> pd.DataFrame:
    """Return where the time went (`api_logs`): one row per (stage, endpoint), the dearest first, times in seconds."""
    return store.df(COST)
