"""What the gallery shows: images by what is chosen, a page at a time, each with all that the judges say of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from forgekit.errors import ParameterError
from forgekit.store import Store
from forgekit.trends.elements import scene_phrases
from forgekit.trends.scenes import STEPS

ORDERS = {
    "lowest score": "score nulls first",
    "highest score": "score desc nulls last",
    "widest gap": "gap desc nulls last",
    "newest": "created_at desc",
    "by scene": "true",
}

# The score and the gap of every image are needed for the order; the rest is read for those of the page alone.
CARDS = f"""
with marks as materialized (
    from judges_in($experiment, null)
),
said as (
    select
        s.image_id,
        any_value(s.soft_tifa_gm) filter (s.vision_model = $vision_model) as score,
        max(s.soft_tifa_gm) filter (s.vision_model <> $vision_model and $other in ('', s.vision_model)) as highest,
        min(s.soft_tifa_gm) filter (s.vision_model <> $vision_model and $other in ('', s.vision_model)) as lowest
    from image_scores s
    join prompts p on p.id = s.prompt_id
    join marks m using (experiment, vision_model, judge_key)
    group by s.image_id
),
found as (
    select
        g.id as image_id,
        g.created_at, s.score,
        greatest(s.highest - s.score, s.score - s.lowest) as gap,
        row_number() over (
            order by p.experiment, t.created_at, p.scene_hash, p.model, p.generation_iteration, p.id, g.image_index, g.id
        ) as place
    from prompts p
    join generated_images g on g.prompt_id = p.id
    join scenes t on t.scene_hash = p.scene_hash
    left join said s on s.image_id = g.id
    where ($experiment is null or p.experiment = $experiment)
      and $scene in ('', p.scene_hash)
      and contains(lower(t.scene_text || ' ' || p.prompt_text), lower($words))
      {{failing}}
),
inside as (
    from found
    where coalesce(gap, 0) >= $gap
      and coalesce(score, 0) between $low and $high
),
page as (
    select image_id, row_number() over (order by {{order}}, place) as n
    from inside
    order by n
    limit $limit offset $offset
),
verdicts as (
    select
        e.image_id,
        list(
            struct_pack(judge := e.vision_model, score := x.soft_tifa_gm, mark := m.pass_mark, said := e.element_scores)
            order by m.steers desc, e.vision_model
        ) as verdicts
    from page
    join image_evaluations e on e.image_id = page.image_id
    join prompts p on p.id = e.prompt_id
    join marks m
        on m.experiment = p.experiment
        and m.vision_model = e.vision_model
        and m.judge_key = e.judge_key
    left join image_scores x on x.evaluation_id = e.id
    where e.error is null
    group by e.image_id
),
steps as ({STEPS})
select
    cast(g.id as varchar) as id,
    p.experiment, p.model, p.scene_hash,
    t.scene_text as scene,
    cast(p.id as varchar) as version,
    p.generation_iteration as iteration,
    p.prompt_text as prompt,
    parent.prompt_text as before,
    s.step.action as made_by,
    g.round,
    try_cast(g.generation_metadata ->> '$.seed' as bigint)::varchar as seed,
    g.image_path as file,
    epoch(g.created_at) as drawn_at,
    v.verdicts,
    (select count(*) from inside) as total
from page
join generated_images g on g.id = page.image_id
join prompts p on p.id = g.prompt_id
join scenes t on t.scene_hash = p.scene_hash
left join prompts parent on parent.id = p.parent_prompt_id
left join steps s on s.child_prompt_id = p.id
left join verdicts v on v.image_id = g.id
order by page.n
"""

FAILING = """
and g.id in (
    select e.image_id
    from element_scores e
    join prompts owner on owner.id = e.prompt_id
    join marks m using (experiment, vision_model, judge_key)
    where m.vision_model = $vision_model
      and e.score < m.pass_mark
      and (e.kind = $failed or [e.scene_hash, e.element] in (select unnest($called::varchar[][])))
)"""

SCENES = """
select distinct scene_hash
from prompts
where ($experiment is null or experiment = $experiment)
  and $scene in ('', scene_hash)
"""


@dataclass(frozen=True)
class Choice:
    """Which images are looked at, by whose scores, in which order; an empty text or 0 chooses nothing.

    `failed` is a kind of element or words of an element's phrase that `vision_model` misses, `gap` the least distance, in
    [0, 1], of its score from that of `other` (of any judge where that is empty), `words` a part of scene text or prompt.
    """

    experiment: str | None
    vision_model: str
    other: str = ""
    scene: str = ""  # its hash
    words: str = ""
    failed: str = ""
    low: float = 0.0
    high: float = 1.0
    gap: float = 0.0
    order: str = "lowest score"


def find_cards(
    store: Store, choice: Choice, *, limit: int | None = None, offset: int = 0
) -> tuple[list[dict[str, Any]], int]:
    """Return the images that are chosen, from the `offset`-th on, as cards, and how many are chosen in all.

    A card is what JSON can hold: texts and ids, the seed as text; `before`, the prompt that its version was made from;
    `elements`, key and phrase of each; `verdicts`, of each judge its score, its pass mark and what it `said`: the
    probability of each element. Without verdicts an image counts as 0, and has none.

    Raises:
        ParameterError: there is no such order.
    """
    if choice.order not in ORDERS:
        raise ParameterError(f"no order {choice.order!r}; there are {', '.join(ORDERS)}")
    called = _called(store, choice) if choice.failed else None
    values: dict[str, Any] = {**asdict(choice), "called": called, "limit": limit, "offset": offset}
    unused = {"order"} if choice.failed else {"order", "failed", "called"}
    question = CARDS.format(order=ORDERS[choice.order], failing=FAILING if choice.failed else "")
    rows = store.rows(question, **{name: value for name, value in values.items() if name not in unused})
    phrases = scene_phrases(store, {row["scene_hash"] for row in rows})
    cards = [_card(row, phrases.get(row["scene_hash"], {})) for row in rows]
    return cards, rows[0]["total"] if rows else 0


def _called(store: Store, choice: Choice) -> list[list[str]]:
    """Return scene and key of each element whose phrase has the words of `failed` in it."""
    scenes = [row["scene_hash"] for row in store.rows(SCENES, experiment=choice.experiment, scene=choice.scene)]
    words = choice.failed.lower()
    return [
        [scene, key]
        for scene, phrases in scene_phrases(store, scenes).items()
        for key, phrase in phrases.items()
        if words in phrase.lower()
    ]


def _card(row: Mapping[str, Any], phrases: Mapping[str, str]) -> dict[str, Any]:
    card = {name: value for name, value in row.items() if name != "total"}
    said = {
        verdict["judge"]: {
            "score": verdict["score"],
            "mark": verdict["mark"],
            "said": json.loads(verdict["said"] or "{}"),
        }
        for verdict in row["verdicts"] or []
    }
    keys = dict.fromkeys([*phrases, *(key for verdict in said.values() for key in verdict["said"])])
    return {**card, "elements": [[key, phrases.get(key, key)] for key in keys], "verdicts": said}
