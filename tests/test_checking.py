"""`forgekit check`: one planted damage for each of its rules, and nothing on a store that the stages alone have made."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

import forgekit as fk
from forgekit.store import Store
from forgekit.upkeep.rules import load_rules

pytest_plugins = ["whole_store"]
RULES = {rule.name: rule for rule in load_rules()}
FIRST = "(select min(id) from {})"
JSON = "update {table} set {column} = json_merge_patch({column}, '{patch}') where id = (select min(id) from {table} where {column} is not null)"


def changed(table: str, column: str, patch: str) -> str:
    return JSON.format(table=table, column=column, patch=patch)


def first(table: str, change: str, where: str = "true", key: str = "id") -> str:
    return f"update {table} set {change} where {key} = (select min({key}) from {table} where {where})"


VERSION = "generation_iteration = 1"
SCORED = "adherence_score is not null"
DECIDED = "actions ->> '$.decision' = '{}'"
# By name of the rule: a damage that it finds, as SQL. Files are damaged in test_checking_files.py.
PLANTED = {
    "schema": "create or replace view current_scores as select 1 as stale",
    "schema: a status change that nobody allows": "insert into status_transitions values ('draft', 'evaluated')",
    "schema: a view that is gone": "drop view learning_effects",
    "scenes.elements": "update scenes set elements = '{\"objects\": 3}' where elements is not null",
    "scenes.elements: no document": "update scenes set elements = '[]' where elements is not null",
    "scenes.source": "update scenes set source = '\"a file\"'",
    "scenes.read_by": "update scenes set read_by = '{\"reader\": \"me\"}' where read_by is not null",
    "prompts.base_parameters": first("prompts", "base_parameters = '3'"),
    "prompts.base_parameters: nan": first("prompts", "base_parameters = '{\"steps\": [NaN]}'"),
    "prompts.directives": first("prompts", "directives = '\"none\"'"),
    "generated_images.generation_metadata": changed("generated_images", "generation_metadata", '{"prompt": null}'),
    "draw-key": changed("generated_images", "generation_metadata", '{"draw_key": null}'),
    "generated_images.generation_metadata: text": changed("generated_images", "generation_metadata", '{"seed": "7"}'),
    "generated_images.evaluation_details": changed("generated_images", "evaluation_details", '{"adhering_at": 2}'),
    "image_evaluations.element_scores": changed("image_evaluations", "element_scores", '{"object:0": 1.5}'),
    "image_evaluations.element_scores: text": changed("image_evaluations", "element_scores", '{"object:0": "high"}'),
    "image_evaluations.element_scores: nan": first("image_evaluations", "element_scores = '{\"object:0\": NaN}'"),
    "image_evaluations.model_output": changed("image_evaluations", "model_output", '{"detected_artifacts": null}'),
    "image_evaluations.adherence_analysis": changed("image_evaluations", "adherence_analysis", '{"missing_elements": 1}'),
    "prompt_learnings.adherence_analysis": changed("prompt_learnings", "adherence_analysis", '{"element_scores": [1]}'),
    "prompt_learnings.error_patterns": first("prompt_learnings", "error_patterns = '{}'"),
    "prompt_learnings.actions": changed("prompt_learnings", "actions", '{"decision": "wait"}'),
    "api_logs.request": first("api_logs", "request = '3'", "request is not null"),
    "api_logs.response": first("api_logs", "response = '\"well\"'", "response is not null"),
    "api_logs.error_context": first("api_logs", "error_context = '{}', ok = false"),
    "scene-hash": first("scenes", "scene_text = 'a dog'", key="scene_hash"),
    "prompt-id": first("prompts", "prompt_text = 'a dog'", "status = 'imported'"),
    "prompt-id: a version": first("prompts", "prompt_text = prompt_text || ', red'", f"{VERSION} and experiment = 'main'"),
    "image-id": changed("generated_images", "generation_metadata", '{"seed": 12}'),
    "image-id: another draw key": changed("generated_images", "generation_metadata", f'{{"draw_key": "{"0" * 64}"}}'),
    "evaluation-id": first("image_evaluations", "judge_key = 'key-9'"),
    "learning-id": changed("prompt_learnings", "actions", '{"decision": "stop"}'),
    "calibration-id": """insert into judge_calibrations by name select uuid() as id, 'fake-judge' as vision_model,
        'key-1' as judge_key, 'error graphs' as truth, 0.9 as wanted_precision, 4 as images, '[]' as curve""",
    "element-keys": changed("image_evaluations", "element_scores", '{"object:7": 0.5}'),
    "element-keys: nothing to ask about": """update scenes set elements = json_merge_patch(elements,
        '{"relations": [{"subject": 5, "predicate": "on", "object": 9}]}') where elements is not null""",
    "experiment-name": first("prompts", "experiment = '../elsewhere'", "status = 'imported'"),
    "first-prompt": first("scenes", "first_prompt_id = uuid()", key="scene_hash"),
    "first-prompt: of another scene": "update scenes set first_prompt_id = (select max(id) from prompts)",
    "scene-of-nobody": "insert into scenes (scene_hash, scene_text) values ('0', 'a scene')",
    "evaluation-of-image": first("image_evaluations", "prompt_id = (select max(id) from prompts where status = 'imported')"),
    "evaluation-of-scene": """update image_evaluations set scene_hash = (select max(scene_hash) from scenes)
        where scene_hash = (select min(scene_hash) from image_evaluations)""",
    "parent-elsewhere": first("prompts", "experiment = 'other'", VERSION),
    "version-order": first("prompts", "generation_iteration = 0", VERSION),
    "version-order: a first one": first("prompts", "generation_iteration = 4", "status = 'imported'"),
    "version-of-nobody": """update prompt_learnings set actions = json_merge_patch(actions, '{"child_prompt_id": null}')""",
    "learning-elsewhere": """update api_logs set learning_id = null; commit; begin; update prompt_learnings set parent_learning_id = (select max(l.id) from prompt_learnings l
        join prompts p on p.id = l.prompt_id where p.experiment = 'again') where id = (select min(l.id) from prompt_learnings l
        join prompts p on p.id = l.prompt_id where p.experiment = 'main' and l.parent_learning_id is not null)""",
    "learning-call": "update api_logs set learning_id = null where id = (select min(id) from api_logs where learning_id is not null and stage = 'refine')",
    "learning-child": changed("prompt_learnings", "actions", '{"child_prompt_id": "00000000-0000-0000-0000-000000000000"}'),
    "learning-base": changed("prompt_learnings", "actions", '{"best_image_id": "00000000-0000-0000-0000-000000000000"}'),
    "learning-status": first("prompt_learnings", "status = 'active'", "status = 'superseded'"),
    "learning-status: the other way": first("prompt_learnings", "status = 'superseded'", "status = 'active'"),
    "call-elsewhere": """update api_logs set prompt_id = (select min(id) from prompts where status = 'imported')
        where id = (select min(id) from api_logs where learning_id is not null)""",
    "claim-of-nothing": "insert into claims (prompt_id, worker) values (uuid(), 'w')",
    "verdict-score": first("image_evaluations", "soft_tifa_gm = 0.99"),
    "verdict-score: an altered element": changed("image_evaluations", "element_scores", '{"object:0": 0.01}'),
    "verdict-score: none": first("image_evaluations", "soft_tifa_am = null"),
    "verdict-score: nan": first("image_evaluations", "soft_tifa_gm = 'nan'"),
    "silent-verdict": first("image_evaluations", "element_scores = null"),
    "image-score": first("generated_images", "adherence_score = 0.99", SCORED),
    "image-score: none": first("generated_images", "adherence_score = null", SCORED),
    "no-score": first(
        "generated_images", "adherence_score = null, is_adhering = null, evaluation_details = null", SCORED
    ),
    "image-score: of nobody": first("generated_images", "evaluation_details = null", SCORED),
    "image-score: of another judge": changed("generated_images", "evaluation_details", '{"vision_model": "watcher"}'),
    "adhering": first("generated_images", "is_adhering = not is_adhering", SCORED),
    "roles": first("image_evaluations", "role = 'objective'", "role = 'heldout'"),
    "roles: none": first("image_evaluations", "role = null"),
    "roles: of nobody": first("image_evaluations", "role = 'judge'"),
    "prompt-score": first("prompts", "current_score = 0.99", "status = 'archived'"),
    "prompt-score: none": first("prompts", "current_score = null", "status = 'evaluated'"),
    "best-image": first("prompts", "best_image_id = uuid()", "status = 'archived'"),
    "best-image: of another": first("prompts", "best_image_id = (select max(best_image_id) from prompts)", "status = 'archived'"),
    "best-of-all": first("prompts", "best_image_id = null", "status = 'archived'"),
    "scored-early": first("prompts", "current_score = 0.5", "status = 'imported'"),
    "mark-of-no-truth": "update pass_marks set pass_mark = 0.7, source = 'human ratings'",
    "no-pass-mark": "delete from pass_marks where vision_model = 'watcher'",
    "no-figure": first("api_logs", "duration_ms = 'nan'"),
    "no-figure: a scale upside down": "insert into human_ratings by name select uuid() as id, min(id) as image_id, 3 as rating, 3 as scale_low, 3 as scale_high, 's' as source from generated_images",
    "correction-of-nothing": "insert into human_ratings by name select uuid() as id, min(id) as image_id, 3 as rating, 1 as scale_low, 5 as scale_high, 'r' as rater, 's' as source, uuid() as replaces from generated_images",
    "no-figure: a round": first("generated_images", "round = -1"),
    "no-images": first("prompts", "status = 'generated'", "status = 'imported'"),
    "drawn-early": first("prompts", "status = 'completed'", "status = 'archived'"),
    "never-judged": """update generated_images set adherence_score = null, is_adhering = null where id = (
        select min(i.id) from generated_images i join prompts p on p.id = i.prompt_id where p.status = 'evaluated')""",
    "never-read": "update scenes set elements = null",
    "never-decided": first("prompts", "status = 'needs_refinement'", "status = 'evaluated'"),
    "round-to-come": first("generated_images", "round = 9"),
    "call-and-error": first("api_logs", "ok = not ok"),
    "nameless": first("prompts", "prompt_text = ' '"),
    "nameless: a judge": first("image_evaluations", "vision_model = ''"),
}  # fmt: skip


def planted(store: Store, name: str) -> None:
    with store.transaction() as con:
        con.execute(PLANTED[name])


def in_files(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*") if p.is_file()
    }


def test_a_store_that_the_stages_made_has_nothing_wrong_and_a_look_changes_no_byte(whole):
    before = in_files(whole.folder)
    assert str(fk.check(whole)) == f"check: all is well (40 images, {len(RULES)} rules)"
    assert in_files(whole.folder) == before


@pytest.fixture(scope="module")
def damageable(whole_once, tmp_path_factory):
    """Return a copy of the whole store's database, anew for each damage."""
    folder = tmp_path_factory.mktemp("damaged")

    def copy() -> Store:
        shutil.copy(whole_once / "forge.duckdb", folder)
        return Store(folder / "forge.duckdb")

    return copy


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_damage_is_found_by_its_rule(damageable, name):
    store, rule = damageable(), RULES[name.partition(":")[0]]
    with store.held_still():
        assert rule.findings(store) == {}
    planted(store, name)
    with store.held_still():
        assert rule.findings(store)


def test_every_rule_has_a_damage_that_breaks_it():
    of_files = {rule.name for rule in RULES.values() if rule.of_files}
    assert {name.partition(":")[0] for name in PLANTED} == set(RULES) - of_files


@pytest.mark.parametrize(
    "name", ["image_evaluations.element_scores: text", "scenes.elements: no document", "never-read"]
)
def test_no_damage_keeps_the_other_rules_from_being_looked_up(damageable, name):
    store = damageable()
    planted(store, name)
    assert any(RULES[name.partition(":")[0]].means in finding for finding in fk.check(store).findings)


def test_of_many_findings_of_one_rule_some_are_shown_and_the_others_counted(damageable):
    store = damageable()
    with store.transaction() as con:
        con.execute("update generated_images set round = 9")
    shown = str(fk.check(store))
    assert shown.count(RULES["round-to-come"].means) == 11
    assert f"{RULES['round-to-come'].means}: … and 30 more" in shown
