"""Completing: turn terse scenes into full prompts that ask for exactly the same elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from forgekit.errors import ItemError, ParameterError
from forgekit.models import ImageGenerator, LanguageModel, load_model, load_stored_model
from forgekit.models.language import final_prompts
from forgekit.models.roles import world_of
from forgekit.progress import StageReport, running
from forgekit.scene import carry, default_lexicon, loosened, parse, read_scene, split_prompt, why_refused
from forgekit.scene.lexicon import FIGURES
from forgekit.scene.openness import leaves_open
from forgekit.scene.rules.understanding import NOT_UNDERSTOOD
from forgekit.scene.syntax.directives import FROM_DATA
from forgekit.scene.syntax.parameters import LARGEST_SEED
from forgekit.stages.calls import Call
from forgekit.stages.conversations import Conversation, Turns
from forgekit.store import Store, arguments
from forgekit.store.arguments import whole
from forgekit.store.claims import Worker, working
from forgekit.store.names import check_experiment
from forgekit.store.rows import insert_rows, update_rows

DUE = """
select id
from prompts
where status in ('imported', 'incomplete')
  and ($experiment is null or experiment = $experiment)
  and id not in (select unnest($attempted::uuid[]))
order by created_at, id
"""

IN_HAND = """
select p.id, p.scene_hash, p.model, p.prompt_text, p.directives, p.base_parameters, s.scene_text, s.elements, s.read_by
from prompts p
join scenes s on s.scene_hash = p.scene_hash
where p.id in (select unnest($ids::uuid[]))
order by p.created_at, p.id
"""

UNREAD = "scenes {}"  # what the report counts them under, with the reason
WORDS_ASKED = 60
REQUEST = """\
Complete this scene into one full text-to-image prompt.
Keep every object, number, colour, relation and quoted text exactly as it is. Add no objects.
You may add what is missing of: background, style, lighting, composition. At most {words} words.
Answer with the prompt alone, between <PROMPT> and </PROMPT>.

Scene: {scene}
"""
RETRY = "Your last attempt was refused: {reasons}. Last attempt: {attempt}\n"


# What prompts say where the scene leaves it open, in this order. The mini world has five backgrounds and three styles;
# other generators get what their captions usually say.
WORDINGS = {
    FIGURES: {"background": "on a white background", "style": "flat design"},
    "": {"style": "photograph", "focus": "sharp focus", "lighting": "natural light"},
}


@dataclass(frozen=True)
class Way:
    """How prompts are completed: by a language model, by a template, not at all (`keep`), or else by rules."""

    model: LanguageModel | None
    template: str | None
    keep: bool
    seed: int
    attempts: int

    @property
    def endpoint(self) -> str:
        """What `api_logs` calls it."""
        return self.model.name if self.model else "keep" if self.keep else "template" if self.template else "rules"


def complete_prompts(
    store: Store,
    *,
    language_model: LanguageModel | str | None = None,
    template: str | None = None,
    keep: bool = False,
    experiment: str | None = None,
    seed: int = 0,
    attempts: int = 3,
    prompts_per_batch: int = 500,
) -> StageReport:
    """Complete every imported prompt, and leave it `completed`.

    What the scene leaves open (background, style, focus, light) is added within the generator's token
    limit, but nothing that the scene rules out (no photograph where a watercolor is asked), and
    `base_parameters` gets the generator's settings and the seed. A fidelity gate parses the result again:
    an element lost, added or changed refuses it, as does prompt syntax that is lost, and the next attempt is
    told why. After the last attempt the prompt's own text stands. Where a prompt fails it becomes `incomplete`
    and is tried again on the next call of the stage.

    Several workers share the prompts. Each answer of a language model is committed as it comes, and its
    prompt after it, so a killed worker loses at most the answers in flight.

    Args:
        language_model: who completes; rules, or `template`, where not given.
        template: a text with "{scene}" in it.
        keep: leave every prompt as it was imported, to the last character, as a benchmark's prompts are to be drawn.
        experiment: only the prompts of this one; all where not given.
        seed: for `base_parameters`, which the seeds of the images are made from, and for what the rules choose to add.
        attempts: how often a prompt is tried before its own text stands.
        prompts_per_batch: how many are completed between two commits by rules or a template.

    Raises:
        UnknownModelError: `language_model` names no model.
        ParameterError: a template without "{scene}", several ways at once, an experiment that has no prompts, or a number that is none.
    """
    check_experiment(store, experiment)
    keep, template = arguments.switch("keep", keep), arguments.text("template", template)
    attempts, at_once = whole("attempts", attempts), whole("prompts_per_batch", prompts_per_batch)
    seed = whole("seed", seed, least=-LARGEST_SEED, most=LARGEST_SEED)
    if (template is not None) + (language_model is not None) + keep > 1:
        raise ParameterError("give one of template, language_model and keep")
    if template is not None:
        complete_by_template(template, "")
    model = load_model("language_model", language_model) if language_model is not None else None
    way = Way(model, template, keep or template == "{scene}", seed, attempts)
    turns = Turns.of(store, model)
    at_once = at_once if model is None else turns.in_hand()
    attempted: list[str] = []
    due = len(store.df(DUE, experiment=experiment, attempted=attempted))
    with working(store) as worker, running("complete", total=due, unit="prompt") as (report, bar):
        while prompts := worker.claim_rows(DUE, IN_HAND, limit=at_once, experiment=experiment, attempted=attempted):
            attempted += [prompt["id"] for prompt in prompts]
            _complete_batch(worker, report, prompts, way, turns)
            bar.update(len(prompts))
    for reason in NOT_UNDERSTOOD:
        if n := report.details.get(UNREAD.format(reason)):
            scenes = "1 scene" if n == 1 else f"{n} scenes"
            report.notes.append(f"{scenes}: {reason}, judged as whole texts; give a language model to read them")
    return report


def _complete_batch(
    worker: Worker, report: StageReport, prompts: Sequence[dict[str, Any]], way: Way, turns: Turns
) -> None:
    completed, incomplete, calls = [], [], []
    ids = [prompt["id"] for prompt in prompts]
    unread = [prompt for prompt in prompts if prompt["elements"] is None]

    def complete(prompt: dict[str, Any]) -> tuple[dict[str, Any] | ItemError, list[dict[str, Any]]]:
        call = Call("complete", way.endpoint, {"scene": prompt["scene_text"]}, prompt["id"])
        conversation = Conversation(turns, call)
        return conversation.attempt(_completed, prompt, way, conversation, report), conversation.rows

    for prompt, (row, rows) in zip(prompts, turns.each(complete, prompts, ids), strict=True):
        calls += rows
        if isinstance(row, ItemError):
            report.failures[prompt["id"]] = row.reason
            incomplete.append(prompt["id"])
        else:
            completed.append(row)
    columns = ("scene_hash", "elements", "read_by")
    read = {prompt["scene_hash"]: prompt for prompt in unread if prompt["elements"] is not None}
    scenes = [{key: prompt[key] for key in columns} for prompt in read.values()]
    for scene in scenes:
        if scene["read_by"]["reader"] == "nobody":
            report.count(UNREAD.format(scene["read_by"]["reason"]))
    with worker.store.transaction() as con:
        held = set(worker.settle(con, [row["id"] for row in completed], "completed"))
        worker.settle(con, incomplete, "incomplete")
        update_rows(con, "scenes", scenes, key="scene_hash")
        update_rows(con, "prompts", [row for row in completed if row["id"] in held])
        insert_rows(con, "api_logs", calls)
    report.done += len(held)


def _completed(
    prompt: dict[str, Any], way: Way, conversation: Conversation, report: StageReport
) -> dict[str, Any] | ItemError:
    """Return what changes in the row of `prompt`, which gets its scene's elements where it has none yet."""
    if prompt["elements"] is None:
        reading = read_scene(prompt["scene_text"])
        prompt["elements"], prompt["read_by"] = reading.elements, reading.read_by
    generator = load_stored_model("image_generator", prompt["model"], within=conversation.store.folder)
    parameters = {"seed": way.seed, **generator.default_parameters(), **prompt["base_parameters"]}
    written = _written(prompt, generator, way, conversation)
    if isinstance(written, ItemError):
        return written
    text, reasons = written
    report.count("kept as they were", way.keep or bool(reasons))
    lexicon = default_lexicon().in_world(world_of(generator))
    report.count("loosened", bool(way.model and loosened(prompt["elements"], parse(text), lexicon=lexicon)))
    conversation.call.response = {"text": text, "refused_for": reasons}
    brought = (prompt["directives"] or {}).get(FROM_DATA)
    directives = split_prompt(text).all_directives(brought)  # a template may have syntax of its own
    return {"id": prompt["id"], "prompt_text": text, "directives": directives, "base_parameters": parameters}


def _written(
    prompt: Mapping[str, Any], generator: ImageGenerator, way: Way, conversation: Conversation
) -> tuple[str, list[str]] | ItemError:
    """Return the full prompt, or its own text with why all attempts were refused."""
    if way.keep:
        return prompt["prompt_text"], []
    own, lexicon = split_prompt(prompt["prompt_text"]), default_lexicon().in_world(world_of(generator))
    refused: list[tuple[str, list[str]]] = []
    for _ in range(way.attempts if way.model else 1):
        candidates = _candidates(prompt, generator, way, conversation, refused)
        if isinstance(candidates, ItemError):
            return candidates
        tried: list[tuple[str, list[str]]] = []
        for candidate, lost in candidates:
            if candidate == own.drawn:
                return own.drawn, []
            reasons = why_refused(prompt["scene_text"], candidate, lexicon=lexicon)
            reasons += [f"what {written} marks is lost" for written in lost]
            if not generator.fits(split_prompt(candidate).words):
                reasons = [*reasons, f"{generator.name} would cut the end of it off"]
            if not reasons:
                return candidate, []
            tried.append((candidate, reasons))
        refused += tried[:1]  # the best one; the others may be no more than parts of it
    if not refused:
        return ItemError(f"{way.endpoint} answered with no complete prompt")
    return own.drawn, [reason for _, reasons in refused for reason in reasons]


def _candidates(
    prompt: Mapping[str, Any],
    generator: ImageGenerator,
    way: Way,
    conversation: Conversation,
    refused: Sequence[tuple[str, list[str]]],
) -> list[tuple[str, list[str]]] | ItemError:
    """Return what one attempt proposes, the best first, each with what of the prompt's syntax had no place in it."""
    own = split_prompt(prompt["prompt_text"])
    if way.model:
        answer = conversation.ask(way.model, completion_request(prompt["scene_text"], refused))
        return answer if isinstance(answer, ItemError) else [carry(words, own) for words in final_prompts(answer)]
    if way.template:
        return [(own.with_words(complete_by_template(way.template, own.words.strip())), [])]
    if (prompt["read_by"] or {}).get("reader") == "nobody":  # who knows which style it asks for
        return [(own.drawn, [])]
    wording = WORDINGS.get(world_of(generator), {})
    return [(own.with_words(complete_by_rules(own.words.strip(), prompt["elements"], wording, generator.fits)), [])]


def complete_by_rules(
    scene_text: str, elements: Mapping[str, Any], wording: Mapping[str, str], fits: Callable[[str], bool]
) -> str:
    """Append what the scene leaves open, as far as it fits the generator's text limit.

    The scene's own words stay as they stand. A background goes to the sentence, the rest is set off by commas.
    """
    own = prompt = scene_text.strip().rstrip(".;,")
    for part, words in wording.items():
        joint = " " if part == "background" and not {",", "."} & set(prompt) else ", "
        if leaves_open(part, scene_text, elements) and fits(prompt + joint + words):
            prompt += joint + words
    return scene_text if prompt == own else prompt


def complete_by_template(template: str, scene_text: str) -> str:
    """Fill "{scene}" of a template, without the mark that ends the scene; "{scene}" alone leaves it untouched.

    Raises:
        ParameterError: the template has no "{scene}".
    """
    if "{scene}" not in template:
        raise ParameterError(f'template {template!r} has no "{{scene}}" in it, e.g. "{{scene}}, oil painting"')
    if template == "{scene}":
        return scene_text
    return template.replace("{scene}", scene_text.strip().rstrip(".;,"))


def completion_request(scene_text: str, refused: Sequence[tuple[str, Sequence[str]]] = ()) -> str:
    """Return what a language model is asked; `refused` are its earlier attempts and the gate's reasons."""
    request = REQUEST.format(scene=scene_text.strip(), words=WORDS_ASKED)
    return request + "".join(RETRY.format(attempt=attempt, reasons="; ".join(reasons)) for attempt, reasons in refused)
