"""Plain HTML that needs no network: pages, executed notebooks, tables, pictures, and texts with what changed marked."""

from __future__ import annotations

import base64
import difflib
import re
from collections.abc import Collection, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from forgekit.show.sheets import BAD, GOOD, encoded, thumbnail

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

WORDS = re.compile(r"[,.;:!?]+(?=\s|$)|\S+?(?=[,.;:!?]*(?:\s|$))")  # a comma after a word is a word of its own
SMALL_FILE = 24_000  # bytes; smaller picture files go into a page as they are, larger ones as thumbnails
ONLY_IN_JUPYTER = "only-in-jupyter"  # the tag of cells that no page shows

MARKS = f"""
ins {{ color: {GOOD}; background: #e3f1fa; text-decoration: none; font-weight: 600 }}
del {{ color: {BAD}; background: #fbeade }}
"""
TABLES = """
table { border-collapse: collapse; font-variant-numeric: tabular-nums; margin-bottom: 1em }
th, td { padding: .25em .8em .25em 0; text-align: left; border-bottom: 1px solid #e8e8e8; vertical-align: top }
"""
STYLE = f"""
body {{ font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 68rem; margin: 2rem auto; padding: 0 1rem }}
{TABLES}img {{ max-width: 100% }}
pre {{ white-space: pre-wrap }}
{MARKS}
h2 {{ margin-top: 2.2em }}
.finished {{ color: {GOOD} }}
.failed {{ color: {BAD} }}
.quiet {{ color: #666 }}
"""
WIDE = "body { max-width: none }\np { max-width: 68rem }\n"

# The same within a notebook, which has styles of its own: nested, so that nothing else on the page changes.
NESTED = f".forgekit {{ line-height: 1.5; p {{ margin: .5em 0 }} {TABLES}{MARKS} }}"


def page(title: str, body: Iterable[str], *, wide: bool = False) -> str:
    """Return a whole HTML document, with `wide` as wide as the window; `title` is escaped, `body` is HTML."""
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}{WIDE * wide}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def notebook_page(notebook: Path, title: str, *, code: bool = True) -> str:
    """Return an executed notebook as a page that opens without Jupyter; without `code` it is its texts and results."""
    from nbconvert import HTMLExporter
    from nbconvert.preprocessors import TagRemovePreprocessor

    # The template "basic" has no head of its own, which in others loads scripts from the network.
    shown = {} if code else {"exclude_input": True, "exclude_output_prompt": True, "exclude_input_prompt": True}
    exporter = HTMLExporter(template_name="basic", exclude_anchor_links=True, **shown)
    if not code:
        exporter.register_preprocessor(TagRemovePreprocessor(remove_cell_tags={ONLY_IN_JUPYTER}), enabled=True)
    return page(title, [exporter.from_filename(str(notebook))[0]])


def table(rows: pd.DataFrame, *, html: Collection[str] = ()) -> Styler:
    """Return rows as a table, for a notebook or as `.to_html()`: floats with two decimals, nulls empty, texts escaped.

    Args:
        html: columns that hold HTML already; everything else is escaped.
    """
    numeric = [name for name in rows.columns if rows[name].dtype.kind in "iuf"]
    right = {name: [{"selector": "", "props": "text-align: right"}] for name in numeric}
    styler = rows.reset_index(drop=True).style.hide(axis="index").set_table_styles(right)
    written = {name: str if name in html else _cell for name in rows.columns}
    return styler.format(written).format_index(_cell, axis="columns")


def bars(scores: pd.DataFrame, *, pass_mark: float) -> Styler:
    """Return a table whose column `score`, in [0, 1], has bars: below the pass mark in another colour, none for null."""
    styler = table(scores).format(lambda score: _cell(score) or "no score", subset=["score"])
    missing = styler.data["score"] < pass_mark
    for color, rows in ((BAD, missing), (GOOD, ~missing)):
        styler = styler.bar(subset=(rows, ["score"]), color=color, vmin=0, vmax=1, width=60)  # beside the figure
    return styler


def picture_file(file: str | Path | None, *, alt: str = "", width: int | None = None) -> str:
    """Return a picture file as an `<img>` that carries it, at 256 pixels at most; a grey field if it cannot be read."""
    path = Path(file) if isinstance(file, str | Path) else None  # null: a path that may not be followed
    if path and path.suffix == ".png" and path.exists() and path.stat().st_size <= SMALL_FILE:
        data = path.read_bytes()
    else:
        data = encoded(thumbnail(path), "png")
    shown = f' width="{width}"' if width else ""
    return f'<img{shown} alt="{escape(alt)}" src="data:image/png;base64,{base64.b64encode(data).decode()}">'


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


def _cell(value: object) -> str:
    if pd.isna(value) is True:
        return ""
    if isinstance(value, float):
        return f"{value:z.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape(str(value))
