"""What follows from the content of rows: hashes, ids, elements, names. A query cannot tell it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from forgekit.errors import ParameterError
from forgekit.ids import content_id
from forgekit.scene import list_elements, scene_hash, split_prompt
from forgekit.store import Store
from forgekit.store.names import check_name

Found = Iterator[tuple[str, str]]  # the id of a row, and what is wrong with it beyond the rule's own words
Row = Mapping[str, Any]

# The kinds of rows whose id follows from other columns, which these queries name as the ids' content does.
BY_CONTENT = {
    "image": (
        "picture",
        """select id, prompt_id as prompt, try_cast(generation_metadata ->> '$.seed' as bigint) as seed,
        generation_metadata ->> '$.draw_key' as draw_key from generated_images
        where generation_metadata ->> '$.outside' is null""",
    ),
    "evaluation": ("verdict", "select id, image_id as image, vision_model, judge_key from image_evaluations"),
    "learning": (
        "learning",
        """select id, prompt_id as prompt, parent_learning_id as parent,
        actions ->> '$.decision' as decision from prompt_learnings""",
    ),
    "calibration": ("calibration", "select id, vision_model, judge_key, truth from judge_calibrations"),
}
UNTOUCHED = """select * from prompts p where status in ('draft', 'imported', 'incomplete')
   or (parent_prompt_id is not null and not exists (from prompt_learnings l
        where l.actions ->> '$.decision' = 'redraw' and l.actions ->> '$.base_prompt_id' = p.id::varchar))"""
VERDICTS = """select e.id, p.scene_hash, json_keys(e.element_scores) as keys from image_evaluations e
join generated_images i on i.id = e.image_id join prompts p on p.id = i.prompt_id where e.element_scores is not null"""


def scene_hashes(store: Store) -> Found:
    """Find scenes whose hash is not that of their text."""
    for row in store.rows("select scene_hash, scene_text from scenes"):
        if scene_hash(row["scene_text"]) != row["scene_hash"]:
            yield row["scene_hash"], row["scene_text"][:60]


def ids(kind: str, sql: str) -> Callable[[Store], Found]:
    """Return what finds the rows of `sql` whose id is not that of the other columns."""

    def find(store: Store) -> Found:
        for row in store.rows(sql):
            if row["id"] != content_id(kind, **{name: value for name, value in row.items() if name != "id"}):
                yield row["id"], ""

    return find


def prompt_ids(store: Store) -> Found:
    """Find prompts whose id is not that of their content; one that was completed or drawn again has other content by now."""
    for row in store.rows(UNTOUCHED):
        content = {name: row[name] for name in ("scene_hash", "model", "base_parameters", "experiment")}
        if row["parent_prompt_id"] is None:
            parts = split_prompt(row["prompt_text"])
            content |= {} if parts.asked == row["prompt_text"] else {"drawn": row["prompt_text"]}
        else:
            content |= {name: row[name] for name in ("parent_prompt_id", "prompt_text", "generation_iteration")}
        if row["id"] != content_id("prompt", **content):
            yield row["id"], ""


def element_keys(store: Store) -> Found:
    """Find scenes that nobody can be asked about, and verdicts on elements that their scene does not have."""
    keys: dict[str, set[str]] = {}
    for row in store.rows("select scene_hash, elements from scenes where elements is not null"):
        try:
            keys[row["scene_hash"]] = {element.key for element in list_elements(row["elements"])}
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            yield row["scene_hash"], f"what the scene asks for cannot be told: {type(error).__name__}: {error}"
    for row in store.rows(VERDICTS):
        if unknown := set(row["keys"]) - keys.get(row["scene_hash"], set(row["keys"])):
            yield row["id"], f"its scene has no {', '.join(sorted(unknown))}"


def names(store: Store) -> Found:
    """Find experiments that nothing can be named after."""
    for row in store.rows("select distinct experiment from prompts"):
        try:
            check_name("experiment", row["experiment"])
        except ParameterError as error:
            yield row["experiment"], str(error)
