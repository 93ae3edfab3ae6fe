"""PromptRefiner: accept an evaluated prompt, draw it again, or rewrite it; and record what was tried."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from forgekit.errors import ItemError, ParameterError
from forgekit.models import load_stored_model
from forgekit.progress import StageReport, running
from forgekit.refiner.decision import Limits, Tools, decide
from forgekit.refiner.learnings import Memory, remember
from forgekit.refiner.policies import Policy, load_policy
from forgekit.scene import Lexicon, default_lexicon, load_lexicon
from forgekit.stages.answers import Conversation
from forgekit.stages.decided import Decided, looked_at, write
from forgekit.stages.recording import Call, recorded_call
from forgekit.stages.situations import InHand, gather
from forgekit.store import Store
from forgekit.store.claims import Worker, working

AT_ONCE = 100  # prompts decided between two commits, where no language model is asked

DUE = """
select id
from prompts
where status = 'evaluated'
  and ($experiment is null or experiment = $experiment)
  and id not in (select unnest($attempted::uuid[]))
order by created_at, id
"""


@dataclass(frozen=True)
class How:
    """How one call of the stage decides, and what it has read of what was learnt before it."""

    policy: Policy
    limits: Limits
    lexicon: Lexicon
    memories: dict[tuple[str, str], Memory] = field(default_factory=dict)

    def memory(self, store: Store, model: str, experiment: str) -> Memory:
        """Return what the policy may know: the evidence of its own arm, so that a study's arms do not teach each other."""
        if not self.policy.uses_memory:
            return Memory()
        if (model, experiment) not in self.memories:
            self.memories[model, experiment] = remember(store, model=model, experiment=experiment)
        return self.memories[model, experiment]


def refine_prompts(
    store: Store,
    *,
    target: float = 0.9,
    policy: Policy | str = "refine",
    experiment: str | None = None,
    max_iterations: int = 8,
    max_images: int | None = None,
    max_minutes: float | None = None,
    patience: int = 5,
    confirm: bool = False,
    without_actions: Sequence[str] = (),
    lexicon: str | None = None,
) -> StageReport:
    """Decide for every evaluated prompt: accept it, draw it again, or rewrite it.

    A rewrite becomes a new version (next `generation_iteration`, status `completed`). It replaces its
    parent only if, on the same seeds, it is better and no element that passed is lost in more than one
    image; else the next attempt starts from the parent again. Each decision is a row of
    `prompt_learnings`, chained per scene, and of `api_logs`; the effects of rewrites are views over the
    evidence. A prompt that fails (no score by one judge under one key, a language model that cannot be
    reached, an unknown generator) stays `evaluated` and comes up again on the next call.

    Several workers share the prompts. Where the policy asks a language model each decision is committed
    before the next, so a killed worker loses at most the answer in flight.

    Args:
        target: mean adherence, in [0, 1], from which a prompt is accepted.
        policy: "refine", "refine-without-memory", "paraphrase", "resample", "llm:MODEL", or an object.
        max_iterations: rounds of rewriting or redrawing after the first drawing.
        max_images: images of a scene, all its versions together, that stop further drawing.
        max_minutes: time since a scene was imported that stops further drawing.
        patience: attempts from one version without success.
        confirm: draw the chosen prompt once more, on seeds that had no part in choosing it.
        without_actions: actions that the policy is not to use, such as "more_steps".
        lexicon: a TOML file with concepts of one's own, in the form of scene/lexicon/concepts.toml.

    Raises:
        ParameterError: an unknown policy or action, a target outside [0, 1], or a lexicon that cannot be read.
    """
    if not 0.0 <= target <= 1.0:
        raise ParameterError(f"target is {target}, it must lie in [0, 1]")
    chosen = load_policy(policy, without=without_actions)
    limits = Limits(target, max_iterations, max_images, patience, confirm, max_minutes)
    how = How(chosen, limits, _lexicon(lexicon))
    # A policy that does not say so is taken for one by rule.
    at_once = 1 if getattr(chosen, "asks_model", False) else AT_ONCE
    attempted: list[str] = []
    due = len(store.df(DUE, experiment=experiment, attempted=attempted))
    with working(store) as worker, running("refine", total=due, unit="prompt") as (report, bar):
        while ids := worker.claim(DUE, limit=at_once, experiment=experiment, attempted=attempted):
            attempted += ids
            _refine_batch(worker, report, ids, how)
            bar.update(len(ids))
    return report


def _refine_batch(worker: Worker, report: StageReport, ids: Sequence[str], how: How) -> None:
    store = worker.store
    gathered = gather(store, ids)
    decided, failed, calls = [], [], []
    for prompt_id in ids:
        conversation = Conversation(store, "refine", prompt_id)
        try:
            with recorded_call("refine", how.policy.name, None, prompt_id=prompt_id) as call:
                outcome = _decide(store, gathered.of(prompt_id), how, conversation, call)
        except Exception as error:  # here one prompt's unexpected error becomes its failure, and the others go on
            report.failures[prompt_id], rows = conversation.failure(call, error)
            failed.append(prompt_id)
            calls += rows
            continue
        if isinstance(outcome, ItemError):
            report.failures[prompt_id] = outcome.reason
            failed.append(prompt_id)
            continue
        decided.append(outcome)
    held = write(worker, decided, failed=failed, calls=calls)
    for each in decided:
        report.count(each.decision.decision, each.prompt_id in held)
    report.done += len(held)


def _decide(
    store: Store, in_hand: InHand | ItemError, how: How, conversation: Conversation, call: Call
) -> Decided | ItemError:
    if isinstance(in_hand, ItemError):
        return in_hand
    call.request = looked_at(in_hand)
    prompt = in_hand.prompt
    generator = load_stored_model("image_generator", prompt["model"], within=store.folder)
    tools = Tools(generator.fits, how.lexicon, conversation.ask)
    memory, rng = how.memory(store, prompt["model"], prompt["experiment"]), random.Random(prompt["id"])
    decision = decide(in_hand.situation, how.policy, memory, how.limits, tools=tools, rng=rng)
    if isinstance(decision, ItemError):
        return decision
    return Decided(in_hand, decision, how.policy.name, call, conversation.calls)


def _lexicon(path: str | None) -> Lexicon:
    if path is None:
        return default_lexicon()
    try:
        return load_lexicon(path)
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise ParameterError(
            f"lexicon {path!r} cannot be read: {error}. It is a TOML file of tables such as [color] "
            'with lines such as red = ["scarlet"]'
        ) from error
