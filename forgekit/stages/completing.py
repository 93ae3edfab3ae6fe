"""PromptCompleter: turn terse scenes into full prompts that ask for exactly the same elements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from forgekit.completion import (
    DEFAULT_WORDING,
    WORDINGS,
    complete_by_rules,
    complete_by_template,
    completion_request,
    tagged_prompts,
)
from forgekit.errors import ForgekitError, ItemError, ParameterError
from forgekit.models import ImageGenerator, LanguageModel, load_model, load_stored_model
from forgekit.rows import insert_rows, update_rows
from forgekit.scene import compare, parse
from forgekit.stages.report import Call, StageReport, recorded_call, running
from forgekit.store import Store

DUE = """
select p.id, p.scene_hash, p.model, p.prompt_text, p.base_parameters, s.scene_text, s.elements
from prompts p
join scenes s on s.scene_hash = p.scene_hash
where p.status in ('imported', 'incomplete')
  and ($experiment is null or p.experiment = $experiment)
order by p.created_at, p.id
"""

WORDS_ASKED = 60


def complete_prompts(
    store: Store,
    *,
    language_model: LanguageModel | str | None = None,
    template: str | None = None,
    experiment: str | None = None,
    seed: int = 0,
    attempts: int = 3,
    prompts_per_batch: int = 500,
) -> StageReport:
    """Complete every imported prompt, and leave it `completed`.

    What the scene leaves open (background, style, composition) is added within the generator's token
    limit, and `base_parameters` gets the generator's settings and the seed. A fidelity gate parses the
    result again: an element lost, added or changed refuses it, and the next attempt is told why. After
    the last attempt the scene's own text stands. Where a model call fails the prompt becomes
    `incomplete` and is tried again on the next call of the stage.

    Args:
        language_model: who completes; None completes by rules, or by `template`.
        template: a text with "{scene}" in it.

    Raises:
        UnknownModelError: `language_model` names no model.
        ParameterError: a template without "{scene}", both ways at once, or `attempts` below 1.
    """
    if template is not None and language_model is not None:
        raise ParameterError("give a template or a language_model, not both")
    if attempts < 1:
        raise ParameterError(f"attempts is {attempts}, it must be at least 1")
    if template is not None:
        complete_by_template(template, "")
    model = load_model("language_model", language_model) if language_model is not None else None
    due = store.rows(DUE, experiment=experiment)
    with running("complete", total=len(due), unit="prompt") as (report, bar):
        for start in range(0, len(due), prompts_per_batch):
            batch = due[start : start + prompts_per_batch]
            _complete_batch(store, report, batch, model, template, seed, attempts)
            bar.update(len(batch))
    return report


def _complete_batch(
    store: Store,
    report: StageReport,
    batch: list[dict[str, Any]],
    model: LanguageModel | None,
    template: str | None,
    seed: int,
    attempts: int,
) -> None:
    completed, incomplete, scenes, calls = [], [], [], []
    for prompt in batch:
        if prompt["elements"] is None:
            prompt["elements"] = parse(prompt["scene_text"])
            scenes.append({"scene_hash": prompt["scene_hash"], "elements": prompt["elements"]})
        try:
            generator: ImageGenerator = load_stored_model("image_generator", prompt["model"], within=store.folder)
            text, reasons = _complete(prompt, generator, model, template, attempts, calls)
        except ForgekitError as error:
            text, reasons = None, [str(error)]
        if text is None:
            incomplete.append(prompt["id"])
            report.failures[prompt["id"]] = "; ".join(reasons)
            continue
        if reasons:
            report.count("kept as they were")
        parameters = {"seed": seed, **generator.default_parameters(), **prompt["base_parameters"]}
        completed.append({"id": prompt["id"], "prompt_text": text, "base_parameters": parameters})
        if model is None:
            calls.append(_gate_row(prompt, "template" if template else "rules", text, reasons))
    with store.transaction() as con:
        update_rows(con, "scenes", scenes, key="scene_hash")
        update_rows(con, "prompts", completed)
        insert_rows(con, "api_logs", calls)
        store.move_prompts(con, [row["id"] for row in completed], "completed")
        store.move_prompts(con, incomplete, "incomplete")
    report.done += len(completed)


def _complete(
    prompt: Mapping[str, Any],
    generator: ImageGenerator,
    model: LanguageModel | None,
    template: str | None,
    attempts: int,
    calls: list[dict[str, Any]],
) -> tuple[str | None, list[str]]:
    """Return the full prompt and why earlier attempts were refused; no prompt where the model itself failed."""
    scene_text, elements = prompt["scene_text"], prompt["elements"]
    refused: list[tuple[str, list[str]]] = []
    for _ in range(attempts if model else 1):
        if model is None:
            if template:
                candidate = complete_by_template(template, scene_text)
            else:
                wording = WORDINGS.get(prompt["model"], DEFAULT_WORDING)
                candidate = complete_by_rules(scene_text, elements, wording, generator.fits)
        else:
            candidate, error = _ask(model, prompt, refused, calls)
            if error:
                return None, [error]
        reasons = compare(elements, parse(candidate))
        if not generator.fits(candidate):
            reasons = [*reasons, f"{generator.name} would cut the end of it off"]
        if not reasons:
            return candidate, []
        refused.append((candidate, reasons))
    return scene_text, [reason for _, reasons in refused for reason in reasons]


def _ask(
    model: LanguageModel, prompt: Mapping[str, Any], refused: list[tuple[str, list[str]]], calls: list[dict[str, Any]]
) -> tuple[str, str | None]:
    request = completion_request(prompt["scene_text"], words=WORDS_ASKED, refused=refused)
    with recorded_call("complete", model.name, request, prompt_id=prompt["id"]) as call:
        answer = model.generate([request])[0]
        if isinstance(answer, ItemError):
            call.errors.append(answer.reason)
        else:
            call.response = {"text": answer}
    calls.append(call.row())
    if isinstance(answer, ItemError):
        return "", answer.reason
    prompts = tagged_prompts(answer)
    return (prompts[0], None) if prompts else ("", f"{model.name} answered with nothing")


def _gate_row(prompt: Mapping[str, Any], endpoint: str, text: str, reasons: list[str]) -> dict[str, Any]:
    call = Call("complete", endpoint, {"scene": prompt["scene_text"]}, prompt_id=prompt["id"], duration_ms=0.0)
    call.response = {"text": text, "refused_for": reasons}
    return call.row()
