"""The work that is looked at: which models are named, for what, how many images and judge calls it takes, how long, at what cost."""

from __future__ import annotations

import shutil
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from forgekit.batches.plan import notebook_defaults, read_plan
from forgekit.checkup.findings import FAULT, OK, DoctorReport
from forgekit.errors import ParameterError, StoreError
from forgekit.models import known_models, recorded_name
from forgekit.models.fetching import gib
from forgekit.models.naming import asked_model, strings_in
from forgekit.models.roles import PROTOCOLS
from forgekit.sources import read_chunks
from forgekit.store import Store
from forgekit.store.images import stored_file
from forgekit.store.names import read_text
from forgekit.study.plan import Study, load_plan, read_scenes

ROLES = {  # what parameters are called that name models, in the singular or the plural
    "model": "image_generator", "image_generator": "image_generator", "vision_model": "vision_model",
    "judge": "vision_model", "language_model": "language_model", "llm": "language_model",
}  # fmt: skip

# What is due, by model: prompts whose images are still to be drawn, and the longest texts first.
DUE = """
select model, count(*) as prompts, list(prompt_text order by length(prompt_text) desc)[:$most] as texts
from prompts
where status in ('draft', 'imported', 'incomplete', 'completed', 'needs_refinement', 'generating')
group by model
order by model
"""
IS_STORE = "select count(*) as n from information_schema.tables where table_name in ('prompts', 'api_logs')"
# What one image, drawn or judged, took on average so far, by model: only calls that say of how many count for time.
TOOK = """
select
    endpoint,
    sum(duration_ms) filter (items > 0) / 1000 / sum(items) as seconds,
    sum(items)::bigint as images,
    sum(cost) / sum(items) as cost
from (
    select
        endpoint,
        duration_ms,
        try_cast(coalesce(response ->> '$.images', response ->> '$.judged') as bigint) as items,
        try_cast(response ->> '$.cost' as double) as cost
    from api_logs
    where stage in ('generate', 'evaluate') and duration_ms is not null
)
group by endpoint
having sum(items) > 0
"""
STORED = "select image_path from generated_images where generation_metadata ->> '$.model' = $model limit 20"
MOST_TEXTS = 2000  # of a model that are looked at, the longest
IMAGES_PER_PROMPT = 4  # where nobody says: the default of `generate_images`


@dataclass
class Work:
    """What is to be done: `models` by (role, name) with whether data names them, the rest by generator or judge."""

    models: dict[tuple[str | None, str], bool] = field(default_factory=dict)
    images: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    texts: dict[str, list[str]] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)  # how the numbers come about, and which are not known
    folders: list[Path] = field(default_factory=list)  # that data may name models in, besides the working folder

    def name(self, role: str | None, names: Iterable[str], *, by_data: bool) -> None:
        """Take up models that a caller, or data, names."""
        for name in names:
            self.models.setdefault((role, name), by_data)

    def draw(self, generator: str, images: int, judges: Iterable[str], texts: Iterable[str]) -> None:
        """Take up images to be drawn, each to be judged by all judges."""
        self.images[generator] += images
        self.verdicts.update(dict.fromkeys(judges, images))
        self.texts[generator] = list(dict.fromkeys([*self.texts.get(generator, []), *texts]))

    def add_plan(self, file: Path) -> Study | None:
        """Take up what the plan of a batch or a study names; return the study.

        Raises:
            ParameterError, SourceError: it cannot be read, or names what no plan may.
        """
        self.folders.append(file.parent)
        try:
            is_batch = "notebook" in tomllib.loads(read_text(file))
        except (OSError, ValueError) as error:
            raise ParameterError(f"{file} cannot be read: {error}; give the TOML file of a batch or a study") from error
        if is_batch:
            self._add_batch(file)
            return None
        study = load_plan(file)
        scenes = read_scenes(study)
        self.name("image_generator", [study.model], by_data=True)
        self.name("vision_model", study.vision_models, by_data=True)
        self.name("language_model", filter(None, map(asked_model, study.arms)), by_data=True)
        each = study.images_per_scene + study.images_per_prompt
        images = len(study.arms) * len(scenes) * each
        self.draw(study.model, images, study.vision_models, scenes["text"].head(MOST_TEXTS))
        self.told.append(
            f"study {study.name}: at most {len(study.arms)} arms × {len(scenes)} scenes × {each} images, of which "
            f"{study.images_per_prompt} confirm"
        )
        return study

    def _add_batch(self, file: Path) -> None:
        """Take up a batch: what each execution draws is told by parameters that are called as those of the loop's notebook."""
        plan = read_plan(file)
        defaults, unknown, total = notebook_defaults(plan.notebook), [], 0
        for execution in plan.executions:
            values = {**defaults, **execution.parameters}
            found = dict.fromkeys(_models_in(values))
            for role, name in found:
                self.name(role, [name], by_data=True)
            try:
                texts = [text for chunk in read_chunks(values["prompts"]) for text in chunk.frame["text"]]
                images = len(texts) * (values["iterations"] + bool(values.get("confirm"))) * values["images_per_prompt"]
            except (KeyError, TypeError):
                unknown.append(execution.name)
                continue
            judges = [name for role, name in found if role == "vision_model"]
            for generator in [name for role, name in found if role == "image_generator"]:
                self.draw(generator, images, judges, texts[:MOST_TEXTS])
                total += images
        self.told.append(f"batch {plan.name}: {len(plan.executions)} executions, at most {total} images")
        if unknown:
            lacks = "the notebook has no prompts, iterations and images_per_prompt"
            self.told.append(f"how many images of {', '.join(unknown[:5])} is not known: {lacks}")

    def add_store(self, store: Store, *, as_targets: bool) -> None:
        """Take up what a store's prompts are due for; with `as_targets` their models, too.

        Raises:
            StoreError: it cannot be opened, or holds no store of forgekit.
        """
        self.folders.append(store.folder)
        judges = [name for role, name in self.models if role == "vision_model"]
        for row in store.rows(DUE, most=MOST_TEXTS):
            told = f"{row['prompts']} prompts due for {row['model']}, {IMAGES_PER_PROMPT} images each and round"
            self.told.append(told)
            self.draw(row["model"], row["prompts"] * IMAGES_PER_PROMPT, judges, row["texts"])
            if as_targets:
                self.name("image_generator", [row["model"]], by_data=True)


def _models_in(parameters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the models that parameters name: those that say so, policies that ask one, and known names anywhere."""
    for parameter, value in parameters.items():
        for text in strings_in(value):
            if asked := asked_model(text):
                yield "language_model", asked
            elif role := ROLES.get(parameter.removesuffix("s")):
                yield role, text
            else:
                yield from ((each, text) for each in PROTOCOLS if text in known_models(each))


def expected(report: DoctorReport, work: Work, store: Store | None) -> None:
    """Add to the report what the work will take, by what the same models took before, and is there room for its images.

    What was never seen is not guessed.
    """
    report.plan += work.told
    if not work.images:
        return
    took, size, seconds, cost = _earlier(store), 0.0, 0.0, 0.0
    unknown = set()
    for what, role, counts in (("images", "image_generator", work.images), ("verdicts", "vision_model", work.verdicts)):
        for name, images in sorted(counts.items()):
            known = took.get(recorded_name(role, name)) or took.get(name)
            if known is None:
                unknown.add(name)
                report.plan.append(f"{images} {what} by {name}: time not known yet (it has made none in this store)")
                continue
            seconds, cost = seconds + images * known["seconds"], cost + images * (known["cost"] or 0)
            price = "" if known["cost"] is None else f", cost {images * known['cost']:.2f}"
            report.plan.append(
                f"{images} {what} by {name}: {duration(images * known['seconds'])}{price} at {known['seconds']:.3g} s each "
                f"(the mean of {known['images']})"
            )
            size += images * _mean_size(store, name) if store and what == "images" else 0
    if seconds:
        price = f", cost {cost:.2f}" if cost else ""
        but = f", and what is not known yet: {', '.join(sorted(unknown))}" if unknown else ""
        report.plan.append(f"in all {duration(seconds)}{price}{but}, one after the other")
    if size and store:
        free = shutil.disk_usage(store.folder).free
        told = f"about {gib(size)} of images, {gib(free)} are free beside the store"
        fits = size < free
        report.add("store", "disk", OK if fits else FAULT, told, "" if fits else "make room, or move the store")


def _earlier(store: Store | None) -> dict[str, dict[str, Any]]:
    try:
        rows = store.rows(TOOK) if store and store.path.exists() else []
    except StoreError:  # it has a finding of its own
        return {}
    return {row["endpoint"]: row for row in rows}


def _mean_size(store: Store, model: str) -> float:
    """Return the mean bytes of some pictures that a model has drawn; 0 where it has drawn none."""
    files = [stored_file(store.folder, row["image_path"]) for row in store.rows(STORED, model=model)]
    sizes = [file.stat().st_size for file in files if not hasattr(file, "reason") and file.is_file()]
    return sum(sizes) / len(sizes) if sizes else 0


def duration(seconds: float) -> str:
    """Return seconds as people read them."""
    minutes, hours = seconds / 60, seconds / 3600
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if hours < 2 else f"{hours:.1f} h"
