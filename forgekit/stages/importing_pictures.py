"""Importing pictures: what others drew becomes prompts, images and, once judged, verdicts, as if it had been drawn here."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.errors import ParameterError
from forgekit.ids import canonical_json, content_id, storable
from forgekit.models import LanguageModel, load_model
from forgekit.progress import StageReport, running
from forgekit.scene import split_prompt
from forgekit.sources import BadRow, read_chunks
from forgekit.sources.given_pictures import GivenPicture, UnusableError, given_picture
from forgekit.sources.rows import excerpt, is_missing, plain
from forgekit.stages.calls import Call
from forgekit.stages.intake import LISTED_BAD_ROWS, Intake, origin_of, place_of
from forgekit.stages.keeping import send_copies
from forgekit.stages.reading_scenes import read_scenes
from forgekit.stages.wanted import is_seed
from forgekit.store import Store
from forgekit.store.claims import Worker, working
from forgekit.store.images import write_image
from forgekit.store.names import check_name
from forgekit.store.rows import insert_rows

if TYPE_CHECKING:
    import pandas as pd

AT_ONCE = 32  # pictures in memory, and between two commits
LONGEST_MODEL = 200  # characters of what a generator is called
ROLES = ("picture", "experiment")  # columns beside those of `read_chunks`
ARMS = ("experiment", "arm")
LONGEST_SETTINGS = 20_000  # characters, of what a row and its picture say of the drawing

IN_STORE = "select id from prompts where id in (select unnest($ids::uuid[]))"
COUNTED = """
select p.id, count(i.id) as n
from prompts p
left join generated_images i on i.prompt_id = p.id
where p.id in (select unnest($ids::uuid[]))
group by all
"""
KNOWN = "select id from generated_images where id in (select unnest($ids::uuid[]))"
JUDGED = "select id, status from prompts where status <> 'generated' and id in (select unnest($ids::uuid[]))"
BACK = ("needs_refinement", "generating", "generated")  # the way of a judged prompt that gets more images


@dataclass(frozen=True)
class Given:
    """A picture with the row that it came in: what `Intake` makes a prompt of, and what is known of its drawing."""

    row: Mapping[str, Any]
    picture: GivenPicture
    experiment: str
    seed: int | None
    place: str  # in the report


def import_pictures(
    store: Store,
    source: str | Path | pd.DataFrame,
    *,
    model: str = "unknown",
    experiment: str = "main",
    folder: str | Path | None = None,
    format: str | None = None,
    text_column: str | int | None = None,
    columns: Mapping[str, str] | None = None,
    encoding: str | None = None,
    language_model: LanguageModel | str | None = None,
) -> StageReport:
    """Take in pictures that others drew, with their prompts, as images in status `generated`: ready to be judged.

    A source is a folder of pictures (a caption beside each, or its prompt within it) or a table that names a picture and a
    prompt in each row. The pictures are copied into the store as they are. Those of one prompt, generator and experiment are its
    images; the same picture twice changes nothing, and pictures that come later make a judged prompt due again. A row that
    cannot be used is named in the report, and the others come in. Each scene is read as `complete_prompts` would read it.

    What drew them is a name: it is never loaded, so these prompts are judged, compared and shown, but neither drawn again nor refined.

    Args:
        source: a folder, a table, or a DataFrame; see `forgekit.sources.read_chunks`.
        model: what drew the pictures, such as "midjourney-7", where neither a row nor the picture says.
        experiment: the arm that they belong to, where no column `experiment` or `arm` says.
        folder: what paths in rows are relative to, and lie in; the table's own folder (the working folder for a
            DataFrame) where not given.
        format: txt, csv, json, parquet, folder, or a benchmark by name, …; told from the source where not given.
        text_column: the column of the prompts; told from its name or content where not given.
        columns: which columns hold what, of picture, experiment, id, category, model and parameters, such as picture=img.
            A column `seed` is the picture's, columns such as steps and cfg are parameters.
        encoding: of text files that are no UTF-8, such as cp1252.
        language_model: who reads what the scenes ask for, in any language; the rules where not given.

    Raises:
        SourceError: the source cannot be read, or no text column can be told.
        ParameterError: an unknown format, encoding or role, or a name that cannot be one.
        UnknownModelError: `language_model` names no language model.
    """
    check_name("experiment", experiment)
    if reason := _why_no_name(model):
        raise ParameterError(f"model={model!r}: {reason}")
    reader = load_model("language_model", language_model) if language_model is not None else None
    mapping = dict(columns or {})
    own = {role: mapping.pop(role) for role in ROLES if role in mapping}
    home = _home(source, folder)
    origin = origin_of(source)
    hashes: list[str] = []
    with working(store) as worker, running("import-pictures", total=0, unit="picture") as (report, bar):
        for chunk in read_chunks(source, format=format, text_column=text_column, columns=mapping, encoding=encoding):
            rows = chunk.frame.to_dict("records")
            report.failures |= {place_of(bad): f"{bad.reason}: {bad.raw!r}" for bad in chunk.bad}
            for start in range(0, len(rows), AT_ONCE):
                some = rows[start : start + AT_ONCE]
                given = [each for row in some if (each := _given(row, home, own, model, experiment, report))]
                hashes += _take_in(worker, report, given, origin)
                bar.update(len(some))
        report.notes += chunk.notes.lines()
        read_scenes(store, list(dict.fromkeys(hashes)), reader, report)
        send_copies(store, report)
        call = Call("import", origin.get("file", "a DataFrame"), {"experiment": experiment})
        call.response = {"images": report.done}
        call.errors = [f"{place}: {reason}" for place, reason in report.failures.items()][:LISTED_BAD_ROWS]
        with store.transaction() as con:
            insert_rows(con, "api_logs", [call.row()])
    return report


def _home(source: Any, folder: str | Path | None) -> Path:
    """Return the folder that paths in rows are relative to; a ParameterError where there is none."""
    if folder is None:
        path = Path() if hasattr(source, "columns") else Path(source)
        return path if path.is_dir() else path.parent
    if not Path(folder).is_dir():
        raise ParameterError(f"folder={str(folder)!r} is no folder; give the one that the pictures lie in")
    return Path(folder)


def _given(
    row: Mapping[str, Any], home: Path, own: Mapping[str, str], model: str, experiment: str, report: StageReport
) -> Given | None:
    """Return a row with its picture; None, and the reason in the report, where it cannot be used."""
    place = place_of(BadRow(row["row"], "", file=row["file"] if isinstance(row.get("file"), str) else ""))
    try:
        picture = given_picture(row, home, own.get("picture"))
        named = _word(row.get("model")) or _word(picture.said.get("model")) or model
        if reason := _why_no_name(named):
            raise UnusableError(f"its model {excerpt(named)!r}: {reason}")
        source = row["source"] if isinstance(row.get("source"), dict) else {}
        asked = own.get("experiment")
        arm = source.get(asked) if asked else next((source[name] for name in ARMS if source.get(name)), None)
        parameters = storable(plain({**picture.said.get("parameters", {}), **(row.get("parameters") or {})}))
        if len(canonical_json(parameters)) > LONGEST_SETTINGS:
            raise UnusableError(f"its settings have more than {LONGEST_SETTINGS:,} characters")
        seed = parameters.pop("seed", split_prompt(row["text"]).parameters.get("seed"))
        told = {**row, "model": named, "parameters": parameters}
        return Given(told, picture, check_name("experiment", arm or experiment), seed if is_seed(seed) else None, place)
    except (ParameterError, ValueError, RecursionError) as error:
        report.failures[place] = f"{error}: {excerpt(row['text'])!r}"
    return None


def _word(name: Any) -> str | None:
    return None if is_missing(name) or name == "" else str(name).strip()


def _why_no_name(model: Any) -> str | None:
    if isinstance(model, str) and model.strip() and model.isprintable() and len(model) <= LONGEST_MODEL:
        return None
    return (
        f'say what drew the pictures in printable words of {LONGEST_MODEL} characters at most, such as "midjourney-7"'
    )


def _take_in(worker: Worker, report: StageReport, given: Sequence[Given], origin: Mapping[str, str]) -> list[str]:
    """Store pictures and the prompts that they are of; return the scenes of these."""
    import pandas as pd

    arms: dict[str, list[Given]] = defaultdict(list)
    for each in given:
        arms[each.experiment].append(each)
    scenes = []
    for experiment, some in arms.items():
        intake = Intake("unknown", experiment, {}, origin, outside=True)
        ids = intake.add(pd.DataFrame([dict(each.row) for each in some]))
        report.failures.update({f"row {bad.row}": bad.reason for bad in intake.bad})
        _store(worker, report, intake, [(each, key) for each, key in zip(some, ids, strict=True) if key])
        scenes += intake.scene_hashes()
    return scenes


def _store(worker: Worker, report: StageReport, intake: Intake, pictures: Sequence[tuple[Given, str]]) -> None:
    """Store the pictures of some prompts (by id) that are not there yet, in one transaction; their files come first."""
    store, ids = worker.store, list({prompt_id for _, prompt_id in pictures})
    images = {}
    for each, prompt_id in pictures:
        content = hashlib.sha256(each.picture.content).hexdigest()
        images[content_id("image", prompt=prompt_id, outside=content)] = (each, prompt_id)
    known = {row["id"] for row in store.rows(KNOWN, ids=list(images))}
    counted = Counter({row["id"]: row["n"] for row in store.rows(COUNTED, ids=ids)})
    busy = counted.keys() - set(worker.claim(IN_STORE, limit=len(ids), ids=ids))
    rows = []
    for image_id, (each, prompt_id) in images.items():
        if image_id in known:
            continue
        if prompt_id in busy:
            report.failures[each.place] = "its prompt is in the hands of another stage; import it again after that"
            continue
        rows.append(_image_row(store.folder, each, image_id, prompt_id, counted[prompt_id]))
        counted[prompt_id] += 1
    with store.transaction() as con:
        new, *_ = intake.store(con, status="generated")
        insert_rows(con, "generated_images", rows)
        _make_due(store, con, [row["prompt_id"] for row in rows])
        worker.release(con, ids)
    report.done += len(rows)
    report.count("prompts", new)
    report.count("the same picture again", len(pictures) - len(images) + len(known))


def _make_due(store: Store, con: Any, ids: Sequence[str]) -> None:
    """Have prompts that were judged before judged again: they have more images now."""
    for id, status in con.execute(JUDGED, {"ids": list(ids)}).fetchall():
        for to in BACK[BACK.index(status) + 1 :] if status in BACK else BACK[-1:] if status == "evaluating" else BACK:
            store.move_prompts(con, [str(id)], to)


def _image_row(folder: Path, given: Given, image_id: str, prompt_id: str, index: int) -> dict[str, Any]:
    picture, row = given.picture, given.row
    width, height = picture.size
    settings = picture.said.get("source")
    said = {"settings": settings} if settings and len(canonical_json(settings)) <= LONGEST_SETTINGS else {}
    metadata = {
        "outside": storable({"file": picture.name, "row": row["row"], **said}),
        "model": row["model"],
        "prompt": split_prompt(row["text"]).words,
        "parameters": row["parameters"],
        "width": width,
        "height": height,
    }
    return {
        "id": image_id,
        "prompt_id": prompt_id,
        "image_path": write_image(folder, image_id, picture.content, ending=picture.ending),
        "generation_metadata": metadata | ({} if given.seed is None else {"seed": given.seed}),
        "round": 0,
        "image_index": index,
    }
