"""Folders of prompts: captions beside pictures, shards of one table, `datasets`, a text a file; all else in them is noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from forgekit.errors import SourceError
from forgekit.sources.files import files_below
from forgekit.sources.pictures import ENDINGS, read_pictures
from forgekit.sources.readers import READERS, SUFFIXES
from forgekit.sources.rows import BadRow, Reading, Row
from forgekit.sources.texts import is_infotext, read_caption, read_infotexts, read_lines

PICTURES = ENDINGS | {".gif", ".bmp", ".tif", ".tiff", ".heic", ".jfif"}  # the latter have captions at most
CAPTIONS = (".txt", ".caption", ".prompt")  # in the order in which they are taken
RECORDS_OF_DATASETS = ("state.json", "dataset_info.json", "dataset_dict.json", "dataset_infos.json")
SHARDS = ("parquet", "arrow")  # of `datasets`; pictures beside them are illustrations
TABLES = ("csv", "tsv", "excel", "jsonl", "json", "yaml")
ABOUT = frozenset({"readme", "license", "licence", "notice", "requirements", "changelog"})  # a folder, no prompts of it
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")  # of a folder of pictures, as `datasets` has it


def read_folder(folder: Path, reading: Reading) -> Iterator[Row]:
    """Read what a folder is: metadata of pictures, pictures with or without captions, shards of a table, or texts.

    Raises:
        SourceError: it is none of these; the error names what is in it.
    """
    files, refused = files_below(folder)
    shards = _of_one_format(files, SHARDS)
    if told := [path for path in files if path.name in METADATA]:
        rows, taken = _named_in(folder, told, reading), [*told]
    elif not shards and any(path.suffix.lower() in PICTURES for path in files):
        rows, taken = _captioned(folder, files, reading)
    elif texts := [path for path in files if path.suffix.lower() == ".txt" and path.stem.lower() not in ABOUT]:
        rows, taken = read_texts(folder, texts, reading), texts
    elif tables := shards or _of_one_format(files, TABLES):
        rows = _shards(folder, tables, reading)
        taken = [*tables, *(path for path in files if path.name in RECORDS_OF_DATASETS)]
    else:
        raise SourceError(
            f"{folder} holds no .txt files, no pictures and no table in one or several parts ({_what_is_in(files, refused)});"
            " point at the file itself"
        )
    yield from refused
    for row in rows:
        yield row
        if told and not isinstance(row, BadRow):
            taken.append(folder / row[1]["file"])
    for path in sorted(set(files) - set(taken)):
        reading.notes.add("files of the folder that were not read", path.relative_to(folder).as_posix())


def _of_one_format(files: Sequence[Path], formats: Collection[str]) -> list[Path]:
    """Return the files that are in one of these formats; [] where several are there."""
    found = [path for path in files if path.name not in RECORDS_OF_DATASETS]
    found = [path for path in found if SUFFIXES.get(path.suffix.lower()) in formats]
    return found if len({SUFFIXES[path.suffix.lower()] for path in found}) == 1 else []


def _what_is_in(files: Sequence[Path], refused: Sequence[BadRow]) -> str:
    kinds = Counter(path.suffix.lower() or "without ending" for path in files)
    told = [f"{n} {kind}" for kind, n in sorted(kinds.items())] or ["nothing"]
    return ", ".join([*told, *([f"{len(refused)} links that lead out of it"] if refused else [])])


def _shards(folder: Path, paths: Sequence[Path], reading: Reading) -> Iterator[Row]:
    """Read files of one format one after the other; rows count on within each."""
    for path in paths:
        place = path.relative_to(folder).as_posix()
        for row in READERS[SUFFIXES[path.suffix.lower()]](path, reading):
            yield _at(place, row)


def _at(place: str, row: Row, **said: str) -> Row:
    """Return a row of the file `place`, which says so; `said` is what the file's name tells besides."""
    return replace(row, file=place) if isinstance(row, BadRow) else (row[0], {**said, **row[1], "file": place})


def _named_in(folder: Path, paths: Sequence[Path], reading: Reading) -> Iterator[Row]:
    """Read the metadata of pictures, as `datasets` has it: a row names its file, which is in the same folder or below."""
    for path in paths:
        for row in _shards(folder, [path], reading):
            if isinstance(row, BadRow) or not isinstance(name := row[1].pop("file_name", None), str):
                yield row
            else:
                place = (path.parent.relative_to(folder) / name).as_posix()
                yield row[0], {"id": Path(name).stem, **row[1], "file": place}


def read_texts(folder: Path, paths: Sequence[Path], reading: Reading) -> Iterator[Row]:
    """Read text files in the order of their names.

    Where each file has one line that is not blank, a file is one text and its name (without .txt) the id.
    Otherwise every line is a text, and the file's name is the category.
    """
    files = [list((read_infotexts if is_infotext(path, reading) else read_lines)(path, reading)) for path in paths]
    label = "id" if all(len(rows) <= 1 for rows in files) else "category"
    for path, rows in zip(paths, files, strict=True):
        place = path.relative_to(folder).as_posix()
        for row in rows:
            yield _at(place, row, **{label: path.stem})


def _captioned(folder: Path, files: Sequence[Path], reading: Reading) -> tuple[Iterator[Row], list[Path]]:
    """Return the rows of a folder of pictures, and the files they are from.

    A caption stands in a file of the picture's name, 001.txt beside 001.png; such a file is one text, whose id is the name.
    A picture without one has its prompt within it, or is a bad row.
    """
    pictures = [path for path in files if path.suffix.lower() in PICTURES]
    captions: dict[Path, Path] = {}
    for suffix in CAPTIONS:
        for path in files:
            if path.suffix.lower() == suffix:
                captions.setdefault(path.with_suffix(""), path)
                captions.setdefault(path.with_name(path.name.removesuffix(path.suffix)), path)
    beside = {path: found for path in pictures if (found := captions.get(path.with_suffix("")) or captions.get(path))}
    bare = [path for path in pictures if path not in beside and path.suffix.lower() in ENDINGS]

    def rows() -> Iterator[Row]:
        for number, (picture, caption) in enumerate(beside.items(), 1):
            row = read_caption(caption, reading)
            yield number, {"id": picture.stem, **row, "file": picture.relative_to(folder).as_posix()}
        yield from read_pictures(folder, bare, reading.notes)

    return rows(), [*beside, *beside.values(), *bare]
