"""The plan of a study: what is compared, which comparisons are its claim, and what cannot be planned."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import pandas as pd
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict

from forgekit.errors import ParameterError, did_you_mean, reworded
from forgekit.models import load_model
from forgekit.models.naming import asked_model, why_refused
from forgekit.models.roles import may_steer
from forgekit.refiner.policies import load_policy
from forgekit.sources import read_chunks
from forgekit.store.names import check_name, inside, read_text

CONTROLS = ("resample", "paraphrase", "llm-paraphrase")  # the arms that look at no verdict; a model's name may follow
PARTS = ("all", "second half")  # of the scenes, in the order in which they are taken up


@dataclass(frozen=True)
class Comparison:
    """One claim: `arm` scores higher than `against` by `vision_model`, on fresh seeds; None: by each held-out judge."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    arm: str
    against: str
    vision_model: str | None = None
    scenes: str = "all"  # or "second half": after memory had something to learn from


@dataclass(frozen=True)
class Study:
    """What is compared. `arms` are policies; the first vision model steers, the others are held out."""

    name: str
    question: str = "Does refinement make prompts better than its controls do at the same number of images?"
    prompts: str = "data/prompts/study.csv"  # the scenes, in the order in which they are taken up
    scenes: int | None = None  # how many of them, from the top; None is all
    arms: Sequence[str] = ("resample", "paraphrase", "refine-without-memory", "refine")
    model: str = "mini"
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of every drawing, such as num_inference_steps
    vision_models: Sequence[str] = ("mini-owl", "mini-clip")
    images_per_prompt: int = 4
    images_per_scene: int = 24  # the budget of every arm, besides the confirming images
    scenes_per_block: int = 20  # memory carries over from block to block
    target: float = 0.95
    without_actions: Sequence[str] = ("more_steps",)  # an image of theirs costs more than one of the controls
    primary: Sequence[Comparison | Mapping[str, str]] = ()  # the claims that the study tests; see `comparisons`

    @property
    def prefix(self) -> str:
        """What the experiments of all arms begin with."""
        return f"{self.name}/"

    @property
    def comparisons(self) -> tuple[Comparison, ...]:
        """The primary comparisons, the only ones that can be "shown".

        Those of `primary`; one that names no vision model is by every held-out judge. Where the plan names none: the
        last arm against each control (against every other arm where there is no control), by every held-out judge,
        on all scenes.

        Raises:
            ParameterError: a comparison lacks an arm, or has a key that no comparison has.
        """
        *others, last = self.arms
        controls = [arm for arm in others if arm.partition(":")[0] in CONTROLS] or others
        wanted = self.primary or [{"arm": last, "against": other} for other in controls]
        try:
            claims = TypeAdapter(list[Comparison]).validate_python(wanted)
        except ValidationError as error:
            raise reworded(error, "a primary comparison", [each.name for each in fields(Comparison)]) from error
        return tuple(
            replace(one, vision_model=judge)
            for one in claims
            for judge in ([one.vision_model] if one.vision_model else self.vision_models[1:])
        )


def load_plan(path: str | Path) -> Study:
    """Read a study from a TOML file whose keys are the fields of `Study`; `name` is the file's where it has none.

    Raises:
        ParameterError: no such file, no TOML, a key that no study has, or a value of another type.
    """
    types = get_type_hints(Study)
    exact = with_config(ConfigDict(extra="forbid", strict=True))
    # mypy knows a TypedDict only where it is written out, not one made of what is found at run time.
    file: Any = exact(TypedDict("file", types, total=False))  # type: ignore[operator]
    try:
        table = TypeAdapter(file).validate_python(tomllib.loads(read_text(Path(path))))
    except ValidationError as error:
        raise reworded(error, f"study {path}", types) from error
    except (OSError, ValueError) as error:
        raise ParameterError(
            f"study {str(path)!r} cannot be read: {error}. It is a TOML file; see docs/refinement.md"
        ) from error
    study = Study(**{"name": Path(path).stem, **table})
    _check_names(Path(path), study)
    return study


def _check_names(file: Path, study: Study) -> None:
    """Check what the TOML file of a study names: it may have come by mail, as that of a batch.

    Raises:
        ParameterError: it names code, an address on a network, a file outside its folder and the working folder, or
            itself by what no folder can be called.
    """
    check_name(f"{file}: the name", study.name)
    models = [study.model, *study.vision_models]
    models += [asked for arm in study.arms if (asked := asked_model(arm)) is not None]
    wrong = [why for model in models if (why := why_refused(model, within=[file.parent]))]
    if not inside(Path(study.prompts), [Path.cwd(), file.parent]):
        wrong.append(
            f"its prompts {study.prompts!r} lie outside the plan's folder and the working folder; copy them there"
        )
    if wrong:
        raise ParameterError(f"{file}: {'; '.join(dict.fromkeys(wrong))}")


def read_scenes(plan: Study) -> pd.DataFrame:
    """Return the study's scenes: text and category, as many as it wants.

    Raises:
        SourceError: the file of scenes cannot be read.
        ParameterError: it has fewer scenes than the study wants.
    """
    frame = pd.concat([chunk.frame for chunk in read_chunks(plan.prompts)], ignore_index=True)
    if plan.scenes is not None and plan.scenes > len(frame):
        raise ParameterError(f"{plan.prompts} has {len(frame)} scenes, fewer than scenes={plan.scenes}")
    return frame.head(plan.scenes) if plan.scenes is not None else frame


def check_plan(study: Study) -> None:
    """Refuse a study that cannot be run, before anything is drawn or written.

    Raises:
        ParameterError: an unknown arm, fewer than two arms or judges, one that is there twice, a budget that is no
            multiple of a version's images, or a primary comparison of what the study does not have.
        UnknownModelError: a generator or judge that nobody knows.
    """
    for name, given in (("arms", study.arms), ("vision_models", study.vision_models)):
        if isinstance(given, str) or len(set(given)) < len(given):
            raise ParameterError(f"{name}={given!r} must be a list in which nothing is twice")
    for arm in study.arms:
        check_name("the experiment", study.prefix + arm)
        load_policy(arm, without=study.without_actions)
    load_model("image_generator", study.model)
    watching = [judge for judge in study.vision_models if not may_steer(load_model("vision_model", judge))]
    if watching:
        raise ParameterError(
            f"vision_models={watching} score no elements, and arms are compared by those; leave them out of the study, and "
            "measure its pictures afterwards: evaluate_images(store, vision_models=[..., ...], backfill=True)"
        )
    if len(study.vision_models) < 2:
        raise ParameterError("a study needs a judge that steers and at least one that is held out")
    if len(study.arms) < 2:
        raise ParameterError("a study needs at least two arms to compare, such as resample and refine")
    if min(study.images_per_prompt, study.images_per_scene, study.scenes_per_block) < 1:
        raise ParameterError("images_per_prompt, images_per_scene and scenes_per_block must be 1 or more")
    if study.images_per_scene % study.images_per_prompt:
        raise ParameterError(
            f"images_per_scene={study.images_per_scene} is no multiple of images_per_prompt={study.images_per_prompt}"
        )
    claims = study.comparisons
    keys = [(frozenset((one.arm, one.against)), one.vision_model, one.scenes) for one in claims]
    for one, key in zip(claims, keys, strict=True):
        if reason := _why_no_claim(one, study) or ("is there twice" if keys.count(key) > 1 else None):
            raise ParameterError(f"primary comparison of {one.arm!r} and {one.against!r} {reason}")


def _why_no_claim(one: Comparison, study: Study) -> str | None:
    """Return why the study cannot test this comparison, or None."""
    steering, *heldout = study.vision_models
    listed = f"Held out: {', '.join(heldout)}"
    for arm in (one.arm, one.against):
        if arm not in study.arms:
            hint = did_you_mean(arm, study.arms)
            return f"names {arm!r}, which is no arm of the study.{hint} Arms: {', '.join(study.arms)}"
    if one.arm == one.against:
        return "is one with itself; name another arm as `against`"
    if one.vision_model == steering:
        return f"by {steering!r}: it steers, so its score is no evidence. {listed}"
    if one.vision_model not in heldout:
        return f"by {one.vision_model!r}: no judge of the study.{did_you_mean(str(one.vision_model), heldout)} {listed}"
    if one.scenes not in PARTS:
        return f"on scenes={one.scenes!r}: give {' or '.join(map(repr, PARTS))}"
    return None
