"""A clock that is set back between two steps: what came last is still taken for the last, and nothing is lost."""

from __future__ import annotations

from test_pass_mark import ByImage, Proposes, judged

import forgekit as fk

TIMED = ("scenes", "prompts", "generated_images", "image_evaluations", "prompt_learnings", "api_logs")
CAUSES = "select learning_id from api_logs where stage = 'generate' and id not in (select unnest($before::uuid[]))"
NEWEST = "select list(id order by created_at) as ids from prompt_learnings"


def set_back(store, days: int = 1) -> None:
    """Set the clock back, as the store sees it: all that was written before is that much later."""
    with store.transaction() as con:
        for table in TIMED:
            con.execute(f"update {table} set created_at = created_at + interval {days} day")
        con.execute(f"update prompts set last_updated = last_updated + interval {days} day")


def test_the_decision_made_after_the_clock_was_set_back_is_the_last_one(one):
    judged(one, ByImage((0.2, 0.8)), images=2)
    fk.refine_prompts(one, policy=Proposes())  # draws again: further images of the same prompt
    [first] = one.rows(NEWEST)[0]["ids"]
    for _ in range(3):
        set_back(one)
        judged(one, ByImage((0.2, 0.8)), images=2)
        fk.refine_prompts(one, policy=Proposes())
    *_, last = learned = [str(each) for each in one.rows(NEWEST)[0]["ids"]]
    assert (str(first), len(learned)) == (learned[0], 4)
    set_back(one)
    before = [row["id"] for row in one.rows("select id from api_logs")]
    fk.generate_images(one, images_per_prompt=2)
    assert one.rows(CAUSES, before=before) == [{"learning_id": last}]
