"""Files and folders of others: text in whatever encoding, what is no file of prompts, and which files of a folder may be read."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from unicodedata import category

from forgekit.errors import ParameterError, SourceError
from forgekit.sources.rows import BadRow, Reading

KINDS = tomllib.loads(Path(__file__).with_name("formats.toml").read_text("utf-8"))["kinds"]
HEAD = 1024  # bytes
ADVICE = "name its encoding: encoding='cp1252' (Western Windows), 'gb18030', 'shift_jis', 'utf-16', …"
MARKS = (  # UTF-32's begins with UTF-16's
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
SAMPLE = 1 << 16  # bytes
LATIN = ("cp1252", "cp1250", "mac_roman")  # in the order tried; charset-normalizer cannot tell them on a few lines
OTHERS = ["gb18030", "big5", "cp932", "euc_jp", "cp949", "cp1251", "koi8_r", "cp1253", "cp1255", "cp1256", "cp874"]
NO_CHARACTERS = ("Cn", "Co", "Cs", "Cc")  # unassigned, private, halves of pairs, control
RARE = re.compile("[\u3400-\u4dbf]")  # ideographs that hardly anybody writes
KANA = re.compile("[\u3041-\u30fa]")
LETTERS = r"A-Za-zÀ-ÖØ-öø-ſ"
SIGNS = "“”‘’„‚‹›«»–—…•·°²³¹½¼¾±€£$§©®™¿¡ªº´\u00a0\u00ad"
# What no text of Latin letters has: other signs, a sign within a word (but a dash or an apostrophe), a capital after a small letter.
ODD = re.compile(
    rf"[^\x00-\x7f{LETTERS}{SIGNS}]"
    rf"|(?<=[{LETTERS}])[„‚‹›«•·°²³¹½¼¾±€£§©®™¿¡ªº´](?=[{LETTERS}])"
    rf"|(?<=[{LETTERS}'])[„‚‹«§¿¡]|(?<=[a-zß-öø-ÿ])[À-ÖØ-ÞŠŒŽŸ]"
)


@contextmanager
def open_text(path: Path, reading: Reading, *, newline: str | None = None) -> Iterator[TextIO]:
    """Open a text file in its encoding: a byte order mark's, the one named, UTF-8, or the likeliest, which is noted.

    Raises:
        SourceError: the file cannot be read, is no text, or not in that encoding; the last also from within the block.
        ParameterError: no encoding has the name given.
    """
    encoding = _encoding(path, reading)
    try:
        with path.open("r", encoding=encoding, newline=newline) as file:
            yield file
    except UnicodeError as error:
        where = f" (byte {error.object[error.start]:#04x})" if isinstance(error, UnicodeDecodeError) else ""
        raise SourceError(f"{path} is not valid {encoding}{where}; {ADVICE}") from error


def _encoding(path: Path, reading: Reading) -> str:
    head = head_of(path)
    if marked := next((encoding for mark, encoding in MARKS if head.startswith(mark)), None):
        return marked
    if reading.encoding is not None:
        try:
            return codecs.lookup(reading.encoding).name
        except LookupError:
            raise ParameterError(f"no encoding is called {reading.encoding!r}; {ADVICE}") from None
    if reason := why_no_prompts(head):
        raise SourceError(f"{path} {reason}")
    if b"\0" in head:
        wide = wide_encoding(head)
        text = codecs.getincrementaldecoder(wide)("replace").decode(head)
        strange = sum(not char.isprintable() and char not in "\n\r\t\u3000" for char in text) + text.count("\ufffd")
        upper_zeros = head[wide.endswith("le") :: 2].count(0)  # of letters, blanks and line ends
        if 2 * upper_zeros >= head.count(0) and strange <= len(text) // 100:
            reading.notes.add(f"{path.name}: read as {wide} without a byte order mark")
            return wide
        raise SourceError(
            f"{path} is a binary file, not text; known formats end in .txt .csv .tsv .xlsx .json .jsonl .yaml .parquet"
        )
    if is_utf8(path):
        return "utf-8"
    assumed = _assumed_encoding(path)
    if assumed is None:
        raise SourceError(f"{path} is not valid utf-8, and its encoding cannot be told; {ADVICE}")
    reading.notes.add(f"{path.name}: no UTF-8; read as {assumed}, which is assumed (encoding=… says otherwise)")
    return assumed


def is_utf8(path: Path) -> bool:
    """Say whether a whole file is valid UTF-8."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while chunk := file.read(1 << 20):
                decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def wide_encoding(body: bytes) -> str:
    """Return which UTF-16 a text is in that has no mark: the upper bytes differ less, and more of it is characters that there are."""
    uppers = {"utf-16-be": body[::2], "utf-16-le": body[1::2]}

    def unlikely(order: str) -> tuple[int, int]:
        text = body.decode(order, "replace")
        return len(set(uppers[order])), sum(category(s) in NO_CHARACTERS or bool(RARE.match(s)) for s in text)

    return min(uppers, key=unlikely)


def _assumed_encoding(path: Path) -> str | None:
    """Return the encoding that a text which is no UTF-8 is most likely in; None where that cannot be told."""
    sample = bytearray()
    with path.open("rb") as file:
        for line in file:
            if not line.isascii():
                sample += line
            if len(sample) > SAMPLE:
                break
    text = sample.decode("utf-8", "replace")
    if sum(not char.isascii() for char in text) > 2 * text.count("\ufffd"):
        return None  # UTF-8 with some damage
    runs = re.findall(rb"[\x80-\xff]+", sample)
    high = sum(map(len, runs))
    if high < 1.5 * len(runs) or high < len(sample) / 4:
        latin = next((e for e in LATIN if _decodes(sample, e) and not ODD.search(sample.decode(e))), None)
        if latin or high < 1.5 * len(runs):
            return latin
    for encoding in ("cp932", "euc_jp"):  # no Japanese text goes without kana, of which others have none by chance
        decoded = sample.decode(encoding, "ignore")
        if 4 * len(KANA.findall(decoded)) > len(decoded) - decoded.count("\n") and _decodes(sample, encoding):
            return encoding
    from charset_normalizer import from_bytes

    best = from_bytes(bytes(sample), cp_isolation=OTHERS, enable_fallback=False).best()
    return best.encoding if best and best.language != "Unknown" else None


def _decodes(sample: bytearray, encoding: str) -> bool:
    try:
        return bool(sample.decode(encoding))
    except UnicodeDecodeError:
        return False


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def why_no_prompts(head: bytes = b"", suffix: str = "") -> str | None:
    """Return what a file is that holds no prompts, by its first bytes or the end of its name, and what would work."""
    begin = head.decode("latin-1").lstrip(" \t\r\n")
    for kind in KINDS:
        marks = tuple(kind["begins"])
        is_markup = begin[:1] == "<" and begin.lower().startswith(marks)
        if suffix in kind["suffixes"] or begin.startswith(marks) or is_markup:
            return f"is {kind['is']}; {kind['advice']}"
    return None


def files_below(folder: Path, suffixes: Collection[str] = ()) -> tuple[list[Path], list[BadRow]]:
    """Return a folder's files with such endings, or all, at any depth, in order; links out of it and what is no file are bad.

    Endings are compared in lower case; hidden files are none. A folder may have come by mail: a link in it must not
    bring in what lies elsewhere, and a pipe would never end.
    """
    home = folder.resolve()
    found, bad = [], []
    for path in sorted(folder.rglob("*")):
        place = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in place.parts)
        if path.is_dir() or hidden or (suffixes and path.suffix.lower() not in suffixes):
            continue
        if path.is_file() and path.resolve().is_relative_to(home):
            found.append(path)
        else:
            why = "a link that leads out of the folder" if path.is_symlink() else "no regular file"
            bad.append(BadRow(1, f"it is {why}; copy the file itself there", file=str(place)))
    return found, bad
