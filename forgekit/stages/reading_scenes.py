"""Reading scenes: by a language model, each of whose answers is on record before it is used, or by the rules; each scene once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from forgekit.errors import ItemError
from forgekit.models import LanguageModel
from forgekit.progress import StageReport, running
from forgekit.scene import LanguageReader, Reading, read_scene
from forgekit.stages.calls import Call
from forgekit.stages.conversations import Conversation, Turns
from forgekit.store import Store
from forgekit.store.rows import update_rows

# Scenes that nobody has read yet, or nobody understood, as long as no judge was asked about them.
UNREAD = """
select scene_hash, scene_text, first_prompt_id
from scenes s
where scene_hash in (select unnest($hashes::varchar[]))
  and (
    elements is null
    or (read_by ->> '$.reader' = 'nobody' and not exists (from image_evaluations e where e.scene_hash = s.scene_hash))
  )
order by created_at, scene_hash
"""
DOWN_AFTER = 5  # scenes in a row that the model gave no answer about at all: it is down, and the others are left unread

Row = Mapping[str, Any]


def read_scenes(store: Store, hashes: Sequence[str], model: LanguageModel | None, report: StageReport) -> None:
    """Have `model`, or for None the rules, read those of these scenes that have no elements yet.

    The rules serve, too, where its answers are no use. Each answer is committed as it comes, and each scene when it is
    read. Where the model cannot be reached the rest is left as it was: it is read when the same file is imported again,
    or by the rules when its prompts are completed.
    """
    scenes = store.rows(UNREAD, hashes=list(hashes))
    if model is None:
        return _keep(store, [(scene, read_scene(scene["scene_text"])) for scene in scenes], report)
    silent: list[tuple[Row, Reading]] = []  # whose reading waits for a sign of life
    with running("read", total=len(scenes), unit="scene") as (_, bar):
        turns = Turns.of(store, model)
        first = [scene["first_prompt_id"] for scene in scenes]
        readings = turns.each(lambda scene: _read(turns, scene, model), scenes, first)
        for place, (scene, (reading, failure)) in enumerate(zip(scenes, readings, strict=True), 1):
            silent.append((scene, reading))
            if not failure:
                _keep(store, silent, report)
                silent = []
            elif len(silent) == DOWN_AFTER or place == len(silent) == len(scenes):
                report.count("scenes left unread", len(scenes) - place + len(silent))
                report.failures[model.name] = f"{failure}; import the same source again when it answers"
                return
            bar.update()
    _keep(store, silent, report)


def _read(turns: Turns, scene: Row, model: LanguageModel) -> tuple[Reading, str | None]:
    """Read one scene; return with it why the model gave no answer at all, or None where it gave any."""
    call = Call("import", model.name, {"scene": scene["scene_text"]}, scene["first_prompt_id"])
    conversation = Conversation(turns, call)
    answers: list[str | ItemError] = []

    def ask(model: LanguageModel, request: str, schema: Row | None) -> str | ItemError:
        answer = conversation.attempt(conversation.ask, model, request, schema)
        answers.append(answer)
        return answer

    reading = read_scene(scene["scene_text"], reader=LanguageReader(model, ask))
    failures = [answer.reason for answer in answers if isinstance(answer, ItemError)]
    return reading, failures[-1] if failures and len(failures) == len(answers) else None


def _keep(store: Store, read: Sequence[tuple[Row, Reading]], report: StageReport) -> None:
    rows = [
        {"scene_hash": scene["scene_hash"], "elements": reading.elements, "read_by": reading.read_by}
        for scene, reading in read
    ]
    with store.transaction() as con:
        update_rows(con, "scenes", rows, key="scene_hash")
    for reader in (row["read_by"]["reader"] for row in rows):
        report.count(f"scenes read by {reader if reader == 'nobody' else f'the {reader}'}")
