"""Pass marks: from which probability on a judge says "there", one number for each judge's settings."""

from __future__ import annotations

from typing import Any

# The threshold found on images of known truth (`forgekit.judge_tests`); people outrank renders.
CALIBRATED = """
select threshold, truth
from judge_calibrations
where vision_model = $vision_model
  and judge_key = $judge_key
  and threshold is not null
order by truth = 'human ratings' desc, created_at desc
limit 1
"""

KEEP = """
insert into pass_marks (vision_model, judge_key, pass_mark, source)
values ($vision_model, $judge_key, $pass_mark, $source)
on conflict (vision_model, judge_key) do update
set pass_mark = excluded.pass_mark, source = excluded.source, created_at = now() at time zone 'utc'
where pass_marks.pass_mark <> excluded.pass_mark
   or pass_marks.source <> excluded.source
"""


def keep_pass_mark(con: Any, vision_model: str, judge_key: str, *, adhering_at: float) -> float:
    """Store the pass mark of a judge under `judge_key`, and return it: in [0, 1].

    It is the calibrated threshold where there is one, else the judge's own `adhering_at`.
    """
    identity = {"vision_model": vision_model, "judge_key": judge_key}
    found = con.execute(CALIBRATED, identity).fetchone()
    mark, source = found or (float(adhering_at), "default")
    con.execute(KEEP, {**identity, "pass_mark": mark, "source": source})
    return mark
