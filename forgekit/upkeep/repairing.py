"""`forgekit check --repair`: what can be made again of what else the store says; nothing is deleted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any, cast

from forgekit.errors import ItemError
from forgekit.models import load_stored_model
from forgekit.stages.calls import Calls, reason_of, recorded_calls
from forgekit.stages.generating import Drawn, checked_drawing
from forgekit.stages.scores import ROLES, SCORE_IMAGES, SCORE_PROMPTS, SCORE_VERDICTS
from forgekit.stages.wanted import Seeds, Wanted, wanted_images
from forgekit.store import Store
from forgekit.store.claims import forget_workers
from forgekit.store.images import copy_of, encode_png, named_after, stored_file, write_whole
from forgekit.store.schema import load_schema
from forgekit.upkeep.files import OF_MIRROR, copies
from forgekit.upkeep.rules import Rule

LOST = "lost"  # the folder beside the store that what belongs to nothing is moved to

# The prompts that rows of any table belong to, each with the judge that scored its images: by what they say, by the roles, or
# else the one that steers its experiment; and with those who watched.
STEERED = """
with own as (
    select id from prompts where id::varchar in (select unnest($ids::varchar[]))
    union select prompt_id from generated_images where id::varchar in (select unnest($ids::varchar[]))
    union select i.prompt_id from image_evaluations e join generated_images i on i.id = e.image_id
        where e.id::varchar in (select unnest($ids::varchar[]))
),
told as (
    select prompt_id, evaluation_details ->> '$.vision_model' as vision_model, evaluation_details ->> '$.judge_key' as judge_key,
        1 as rank from generated_images
    union all select prompt_id, vision_model, judge_key, 2 from image_evaluations where role = 'objective'
    union all select p.id, vision_model, judge_key, 3 from prompts p join judge_marks using (experiment) where steers
),
steering as (
    select o.id, arg_min({'vision_model': t.vision_model, 'judge_key': t.judge_key}, t.rank) as judge
    from own o join told t on t.prompt_id = o.id
    where exists (from image_evaluations e where (e.prompt_id, e.vision_model, e.judge_key) = (o.id, t.vision_model, t.judge_key))
    group by all
)
select s.id, s.judge.vision_model as vision_model, s.judge.judge_key as judge_key, any_value(coalesce(m.pass_mark, 0.5)) as pass_mark,
    coalesce(list(distinct e.vision_model order by e.vision_model) filter (e.vision_model <> s.judge.vision_model), []) as heldout
from steering s join image_evaluations e on e.prompt_id = s.id
left join pass_marks m on (m.vision_model, m.judge_key) = (s.judge.vision_model, s.judge.judge_key)
group by s.id, s.judge
"""
# Prompts whose verdicts are all gone: their scores have nothing to rest on, and `evaluate` asks again.
UNJUDGED = """
select distinct prompt_id as id from generated_images i
where (id::varchar in (select unnest($ids::varchar[])) or prompt_id::varchar in (select unnest($ids::varchar[])))
  and not exists (from image_evaluations e where e.prompt_id = i.prompt_id)
"""
VERDICTS = "select id from image_evaluations where prompt_id in (select unnest($ids::uuid[]))"
UNSCORE = (
    "update image_evaluations set soft_tifa_am = null, soft_tifa_gm = null where id in (select unnest($ids::uuid[]))"
)
RESTING = """select id from prompts where status in ('evaluated', 'archived', 'needs_refinement')
  and id in (select unnest($ids::uuid[]))"""
# A verdict that cannot be read is no evidence; what stood in it stays in the error, and `evaluate` asks the judge again.
ASK_AGAIN = """
update image_evaluations
set error = 'the verdict was damaged; it read ' || coalesce(element_scores::varchar, 'nothing') || ' '
        || coalesce(adherence_analysis::varchar, '') || ' ' || coalesce(model_output::varchar, ''),
    element_scores = null, adherence_analysis = null, model_output = null, soft_tifa_am = null, soft_tifa_gm = null
where id::varchar in (select unnest($ids::varchar[]))
"""
PICTURES = """
select i.id as image_id, i.image_path, i.generation_metadata as metadata, p.*, null as learning_id
from generated_images i
join prompts p on p.id = i.prompt_id
where i.id in (select unnest($ids::uuid[]))
order by p.model, p.created_at, p.id, i.image_index
"""
ANOTHER = (
    "{} would draw another picture now: its weights, the versions of its libraries, the machine or the prompt's parameters are "
    "others. A backup may have it"
)
ADDED = ("batch", "directives_not_applied", "parameters_not_applied")  # to a row's metadata after its file was written


def mend(store: Store, rules: Sequence[Rule], found: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Mend what the rules have found, in their order; return why what could be tried was of no use."""
    ways: dict[str, Callable[[Store, list[str]], list[str] | None]] = {
        "remake": _remake,
        "rescore": rescore,
        "redraw": redraw,
        "set aside": set_aside,
        "forget": forget_workers,
        "link": _link_mirror,
    }
    notes: list[str] = []
    left = iter([rule for rule in rules if rule.mend])
    while broken := _next_broken(store, left, found):
        way, ids = broken
        if way in ways:
            notes += ways[way](store, ids) or []
        else:
            with store.transaction() as con:
                con.execute(ASK_AGAIN if way == "ask again" else way, {"ids": ids})
    return notes


def _next_broken(
    store: Store, rules: Iterator[Rule], found: Mapping[str, Mapping[str, str]]
) -> tuple[str, list[str]] | None:
    """Return how the next broken rule is mended, and whose ids; what was mended before may have mended it, or brought it about."""
    with store.held_still():
        for rule in rules:
            if ids := list(found[rule.name] if rule.of_files else rule.findings(store)):
                return rule.mend, ids
    return None


def _remake(store: Store, ids: Sequence[str]) -> None:
    with store.transaction() as con:
        load_schema().remake(con)


def rescore(store: Store, ids: Sequence[str]) -> None:
    """Compute again what follows from the verdicts on these prompts, or on those of these images and verdicts."""
    groups: dict[tuple[Any, ...], list[str]] = defaultdict(list)
    for row in store.rows(STEERED, ids=list(ids)):
        groups[row["vision_model"], row["judge_key"], row["pass_mark"], *row["heldout"]].append(row["id"])
    groups["", "", 0.5] = [row["id"] for row in store.rows(UNJUDGED, ids=list(ids))]
    for (vision_model, judge_key, pass_mark, *heldout), prompts in groups.items():
        judge = {"vision_model": vision_model, "judge_key": judge_key}
        with store.transaction() as con:
            verdicts = [str(row[0]) for row in con.execute(VERDICTS, {"ids": prompts}).fetchall()]
            con.execute(UNSCORE, {"ids": verdicts})
            con.execute(SCORE_VERDICTS, {"ids": verdicts})
            con.execute(SCORE_IMAGES, {**judge, "pass_mark": pass_mark, "heldout": heldout, "ids": prompts})
            con.execute(ROLES, {**judge, "ids": prompts})
            resting = [str(row[0]) for row in con.execute(RESTING, {"ids": prompts}).fetchall()]
            con.execute(SCORE_PROMPTS, {"ids": resting})


def redraw(store: Store, ids: Sequence[str]) -> list[str]:
    """Put the pictures of these images back where they belong: a copy that is whole, or drawn again to the same bytes.

    The last bit of a pixel can depend on how many are drawn together, so where one drawn alone is not the same, it is drawn
    in a batch as large as its own was.

    Returns:
        Why each of the others could not be made again.
    """
    load = cache(partial(load_stored_model, "image_generator", within=store.folder))
    failed: dict[str, str | None] = {}
    with recorded_calls(store, "repair") as calls:
        for row in store.rows(PICTURES, ids=list(ids)):
            if _copied(store, row):
                continue
            made = row["metadata"]
            try:
                model = load(row["model"])
                [wanted] = wanted_images(model, row, Seeds.of(None, [made["seed"]]), [store.folder])
            except Exception as error:  # this generator's failure; the pictures of others go on
                failed[row["image_id"]] = reason_of(error)
                continue
            if wanted.draw_key != made["draw_key"]:
                failed[row["image_id"]] = ANOTHER.format(row["model"])
                continue
            for together in sorted({1, made.get("batch") or 1}):
                failed[row["image_id"]] = _same(store, calls, model, row, [wanted] * together)
                if failed[row["image_id"]] is None:
                    break
    return [f"image {image} is not drawn again: {reason}" for image, reason in failed.items() if reason]


def _copied(store: Store, row: Mapping[str, Any]) -> bool:
    """Put a whole copy of an image in its place, where there is one in the mirror, under another image's name, or kept elsewhere."""
    for copy in copies(store, row["image_id"], row["image_path"]):
        content = copy.read_bytes()
        if named_after(Path(row["image_path"]), content):
            return _put(store, row, content)
    file = stored_file(store.folder, row["image_path"])
    with suppress(OSError):
        if isinstance(file, Path) and (kept := copy_of(file)) is not None:
            return _put(store, row, kept)
    return False


def _put(store: Store, row: Mapping[str, Any], content: bytes) -> bool:
    file = stored_file(store.folder, row["image_path"])
    if isinstance(file, ItemError):
        return False
    if file.exists():
        set_aside(store, [row["image_path"]])
    write_whole(file, content)
    return True


def _same(store: Store, calls: Calls, model: Any, row: Mapping[str, Any], batch: Sequence[Wanted]) -> str | None:
    """Draw a picture, in a batch of its like; where it has the bytes of `row`, put it in its place, else say why not."""
    [answer, *_] = calls.ask(
        model.name,
        batch,
        lambda some: model.draw([each.request for each in some]),
        check=lambda each, drawing: (checked_drawing(each, drawing), getattr(drawing, "image", None)),
        request=lambda some: {"image": row["image_id"], "seeds": [each.request.seed for each in some]},
        counted="images",
        keep=lambda some: None,  # what is drawn is compared first
    )
    drawn, picture = answer if isinstance(answer, tuple) else (answer, None)
    if not isinstance(drawn, Drawn):
        return drawn.reason
    # Where only what is told beside the pixels is another (a version, say), the file gets what it had.
    told = {name: value for name, value in row["metadata"].items() if name not in ADDED}
    for png in (drawn.png, encode_png(cast(Any, picture), told)):
        if named_after(Path(row["image_path"]), png):
            return None if _put(store, row, png) else "its path is refused"
    return f"{model.name} draws a picture of other bytes now. A backup may have it"


def set_aside(store: Store, paths: Sequence[str]) -> None:
    """Move files into the folder `lost` beside the store, each under the path it had; none is overwritten there."""
    for path in paths:
        source, target = store.folder / path, store.folder / LOST / path
        number = 0
        while target.exists() or target.is_symlink():
            number += 1
            target = (store.folder / LOST / path).with_name(f"{number}-{source.name}")
        if source.exists() or source.is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            source.rename(target)


def _link_mirror(store: Store, paths: Sequence[str]) -> None:
    """Put the store's pictures in the place of others that the mirror shows, which are set aside."""
    images = {row["id"]: row["image_path"] for row in store.rows("select id, image_path from generated_images")}
    set_aside(store, paths)
    for path in paths:
        found = OF_MIRROR.search(path)
        file = stored_file(store.folder, images[found[1]]) if found and found[1] in images else None
        if isinstance(file, Path) and file.exists():
            write_whole(store.folder / path, file.read_bytes(), same_as=file)
