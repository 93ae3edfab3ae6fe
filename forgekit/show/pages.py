"""Plain HTML that needs no network: pages, tables, pictures and texts with what changed in them marked."""

from __future__ import annotations

import base64
import difflib
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from forgekit.show.sheets import BAD, GOOD, thumbnail

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

WORDS = re.compile(r"[,.;:!?]+(?=\s|$)|\S+?(?=[,.;:!?]*(?:\s|$))")  # a comma after a word is a word of its own
SMALL_FILE = 24_000  # bytes; smaller picture files go into a page as they are, larger ones as thumbnails

MARKS = f"""
ins {{ color: {GOOD}; background: #e3f1fa; text-decoration: none; font-weight: 600 }}
del {{ color: {BAD}; background: #fbeade }}
"""
TABLES = """
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25em .8em .25em 0; text-align: left; border-bottom: 1px solid #e8e8e8; vertical-align: top }
td.n, th.n { text-align: right }
"""
STYLE = f"""
body {{ font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 68rem; margin: 2rem auto; padding: 0 1rem }}
{TABLES}img {{ max-width: 100% }}
{MARKS}
h2 {{ margin-top: 2.2em }}
.finished {{ color: {GOOD} }}
.failed {{ color: {BAD} }}
.quiet {{ color: #666 }}
"""


# The same within a notebook, which has styles of its own: nested, so that nothing else on the page changes.
NESTED = f".forgekit {{ line-height: 1.5; p {{ margin: .5em 0 }} {TABLES}{MARKS} }}"


def page(title: str, body: Iterable[str]) -> str:
    """Return a whole HTML document; `title` is escaped, `body` is HTML."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def table(rows: pd.DataFrame, *, html: Sequence[str] = ()) -> str:
    """Return rows as an HTML table; numbers stand right with two decimals, nulls are empty.

    Args:
        html: columns that hold HTML already; everything else is escaped.
    """
    numeric = {name: rows[name].dtype.kind in "iuf" for name in rows.columns}
    head = "".join(f"<th{' class=n' if numeric[name] else ''}>{escape(str(name))}</th>" for name in rows.columns)
    body = "".join(
        "<tr>"
        + "".join(
            f"<td{' class=n' if numeric[name] else ''}>{value if name in html else escape(_cell(value))}</td>"
            for name, value in zip(rows.columns, row, strict=True)
        )
        + "</tr>\n"
        for row in rows.itertuples(index=False)
    )
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table>"


def picture(image: Image, *, alt: str = "") -> str:
    """Return the image as an `<img>` that carries it: JPEG for a large one, PNG for a small one."""
    buffer = io.BytesIO()
    kind = "jpeg" if image.width * image.height > 512 * 512 else "png"
    image.convert("RGB").save(buffer, format=kind, **({"quality": 85} if kind == "jpeg" else {}))
    return _img(buffer.getvalue(), kind, alt)


def png(data: bytes, *, alt: str = "") -> str:
    """Return PNG bytes as an `<img>` that carries them."""
    return _img(data, "png", alt)


def picture_file(file: str | Path | None, *, alt: str = "") -> str:
    """Return a picture file as an `<img>` that carries it, at 256 pixels at most; a grey field if it cannot be read."""
    if not isinstance(file, str | Path):  # a path that may not be followed
        return picture(thumbnail(None), alt=alt)
    file = Path(file)
    if file.suffix == ".png" and file.exists() and file.stat().st_size <= SMALL_FILE:
        return _img(file.read_bytes(), "png", alt)
    return picture(thumbnail(str(file)), alt=alt)


def marked_diff(before: str | None, after: str) -> str:
    """Return `after` with the words added to `before` in `<ins>` and the words taken away in `<del>`.

    `before` null means that there is nothing to compare with.
    """
    if before is None:
        return escape(after)
    old, new = WORDS.findall(before), WORDS.findall(after)
    parts = []
    for change, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        gone, come = _joined(old[i:j]), _joined(new[k:m])
        if change == "equal":
            parts.append(come)
            continue
        parts += [f"<del>{gone}</del>"] * bool(gone) + [f"<ins>{come}</ins>"] * bool(come)
    return re.sub(r" (?=(?:<ins>|<del>)?[,.;:!?])", "", " ".join(parts))


def _joined(words: Sequence[str]) -> str:
    return re.sub(r" (?=[,.;:!?])", "", escape(" ".join(words)))


def bars(scores: Mapping[str, float | None], *, pass_mark: float) -> str:
    """Return scores in [0, 1] as labelled bars, those below the judge's pass mark in another colour; null says so."""
    rows = []
    for label, score in scores.items():
        known = score is not None and score == score
        color = BAD if known and score < pass_mark else GOOD
        bar = f'<div style="width:{120 * score:.0f}px;height:.8em;background:{color}"></div>' if known else ""
        rows.append(
            f"<tr><td>{escape(label)}</td><td class=n>{f'{score:.2f}' if known else 'no score'}</td>"
            f'<td style="vertical-align:middle"><div style="width:120px;background:#e8e8e8">{bar}</div></td></tr>'
        )
    return f"<table>{''.join(rows)}</table>"


def _img(data: bytes, kind: str, alt: str) -> str:
    return f'<img alt="{escape(alt)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'


def _cell(value: object) -> str:
    if value is None or value != value:
        return ""
    if isinstance(value, float):
        return f"{value:.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
