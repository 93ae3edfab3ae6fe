"""The gallery: its page asks, the store answers; live in JupyterLab, or written as a folder that opens from disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from forgekit import trends
from forgekit.errors import ForgekitError, ItemError, ParameterError
from forgekit.progress import StageReport, running
from forgekit.show.selection import Selection
from forgekit.show.sheets import encoded, thumbnail
from forgekit.sources.pictures import ENDINGS
from forgekit.store import Store
from forgekit.store.images import fetched_file, link_or_copy, write_whole
from forgekit.trends.cards import ORDERS, Choice, find_cards

MOST = 500  # scenes in the list to choose from, and thumbnails asked for at once; words find the others
LABEL = 70  # characters of a scene text in that list
SHOWN_AS_IT_IS = 16 * 2**20  # bytes of a picture in full size; of a larger one, a small copy
INDEX = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="generator" content="forgekit explore">
<title>{title}</title>
<style>body {{ margin: 8px }}
{css}</style>
<main id="gallery" class="page">needs JavaScript</main>
<script type="application/json" id="data">{data}</script>
<script type="module">{js}
gallery(document.getElementById("gallery"), written(JSON.parse(document.getElementById("data").textContent)));
</script>
"""


def part(ending: str) -> str:
    """Return the gallery's page itself: "js" or "css"."""
    return Path(__file__).with_name(f"gallery.{ending}").read_text("utf-8")


def begin(chosen: Selection, *, scene: bool = False) -> dict[str, Any]:
    """Return what the page begins with: what there is to choose from, and what is chosen."""
    choice = Choice(chosen.experiment, chosen.vision_model, scene=chosen.scene_hash if scene else "")
    return {"about": offered(chosen), "choice": asdict(choice)}


def offered(chosen: Selection) -> dict[str, Any]:
    """Return what there is to choose from in an experiment: judges, the steering one first; scenes, the largest gain first."""
    scenes = [[row.scene_hash, _scene_label(row)] for row in chosen.scenes.head(MOST).itertuples()]
    about = {"experiment": chosen.experiment, "experiments": chosen.experiments, "judges": chosen.judges}
    return {**about, "scenes": scenes, "orders": list(ORDERS)}


def _scene_label(row: Any) -> str:
    text = row.scene_text if len(row.scene_text) <= LABEL else row.scene_text[: LABEL - 1] + "…"
    return f"{row.gain:+z.2f}  {text}" if row.gain == row.gain else text


class Answers:
    """What the page of one widget may ask; each answer opens the store anew. Pictures are those of cards that it was given."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._files: dict[str, str] = {}  # image → path in the store

    def answer(self, widget: Any, message: Mapping[str, Any], _: object = None) -> None:
        """Answer one message of the page, or say there why not.

        JupyterLab has a widget's messages handled in threads of their own (subshells): nothing here is changed but
        `_files`, which only grows.
        """
        questions: list[Callable[..., Any]] = [self.read, self.page, self.scene, self.thumbnails, self.picture]
        number, kind = {"n": message.get("n")}, str(message.get("kind"))
        try:
            said = {question.__name__: question for question in questions}[kind](**message["about"])
            pictures = kind in ("thumbnails", "picture")
            widget.send(number if pictures else {**number, "answer": said}, said if pictures else None)
        except ForgekitError as error:  # a busy store is no reason to lose the widget
            widget.send({**number, "trouble": str(error)})
        except Exception as error:  # Jupyter would note it where nobody looks
            widget.send({**number, "trouble": f"{type(error).__name__}: {error}"})
            raise

    def read(self, experiment: str) -> dict[str, Any]:
        """Return what there is to choose from now."""
        return offered(Selection.first(self.store, experiment, None, None))

    def page(self, choice: Mapping[str, Any], offset: int, limit: int) -> dict[str, Any]:
        """Return a page of cards."""
        cards, total = find_cards(self.store, Choice(**choice), limit=min(limit, MOST), offset=offset)
        self._files |= {card["id"]: card["file"] for card in cards}
        return {"cards": cards, "total": total}

    def scene(self, scene: str, vision_model: str) -> list[dict[str, Any]]:
        """Return all cards of a scene, those of other experiments as well."""
        cards, _ = find_cards(self.store, Choice(None, vision_model, scene=scene, order="by scene"))
        self._files |= {card["id"]: card["file"] for card in cards}
        return cards

    def thumbnails(self, ids: list[str]) -> list[bytes]:
        """Return a small JPEG of each image, in order; a grey field that says so where it cannot be read."""
        with ThreadPoolExecutor() as pool:  # decoding happens outside the interpreter's lock
            return list(pool.map(lambda image: small(self._file(image)), ids[:MOST]))

    def picture(self, id: str) -> list[bytes]:
        """Return the bytes of an image's file; a small copy where it is very large or cannot be read."""
        file = self._file(id)
        if file is None or file.stat().st_size > SHOWN_AS_IT_IS:
            return [small(file)]
        return [file.read_bytes()]

    def _file(self, image: str) -> Path | None:
        file = fetched_file(self.store.folder, self._files.get(image, ""))
        return None if isinstance(file, ItemError) else file


def small(file: Path | None) -> bytes:
    """Return an image with its longer side at 256 pixels as JPEG."""
    return encoded(thumbnail(file), "jpeg")


def widget(store: Store, start: dict[str, Any]) -> Any:
    """Return the gallery as a widget.

    Raises:
        ParameterError: anywidget is not installed.
    """
    try:
        import anywidget
        import traitlets
    except ImportError as error:
        raise ParameterError(
            "the gallery in JupyterLab needs anywidget: pip install 'forgekit[lab]', or explore(…, interactive=False)"
        ) from error

    class Gallery(anywidget.AnyWidget):
        _esm, _css = part("js"), part("css")
        start = traitlets.Dict().tag(sync=True)

    made = Gallery(start=start)
    made.on_msg(Answers(store).answer)
    return made


def write_gallery(
    store: Store, *, output: str = "gallery", experiment: str | None = None, vision_model: str | None = None
) -> StageReport:
    """Write the gallery as a folder: a page that opens from disk, thumbnails, and the images in full size.

    Images are linked, not copied, on the same disk. A gallery that is there is brought up to date.

    Args:
        output: the folder; open `index.html` in it.
        experiment: this experiment, or all arms of this study, only.
        vision_model: the judge to begin with; where not given, the one that steers.

    Raises:
        ParameterError: there is no such experiment or judge, nothing is judged yet, or another page is in the folder.
    """
    folder, index = Path(output), Path(output, "index.html")
    if index.exists() and "forgekit explore" not in index.read_text("utf-8", errors="replace")[:300]:
        raise ParameterError(f"{index} is another page; give a new folder: --output FOLDER")
    arms = trends.arms(store, experiment)
    judged = [name for name in Selection.first(store, None, None, None).experiments if name in arms]
    if not judged:
        raise ParameterError(f"nothing of {experiment!r} is judged yet; run `forgekit evaluate` first")
    chosen = {name: Selection.first(store, name, None, vision_model) for name in judged}
    offers = {name: {**offered(each), "experiments": judged} for name, each in chosen.items()}
    everything = [Choice(each.experiment, each.vision_model, order="by scene") for each in chosen.values()]
    cards = [card for choice in everything for card in find_cards(store, choice)[0]]
    with running("explore", total=len(cards), unit="image") as (report, bar), ThreadPoolExecutor() as pool:
        for reason, card in zip(pool.map(lambda card: _write(store, folder, card), cards), cards, strict=True):
            report.failures |= {card["file"]: reason} if reason else {}
            report.done += not reason
            bar.update()
        start = {**begin(chosen[judged[0]]), "about": offers, "cards": cards}
        data = json.dumps(start, ensure_ascii=False).replace("<", "\\u003c")  # no text ends the script
        page = INDEX.format(title="forgekit: images", css=part("css"), js=part("js"), data=data)
        write_whole(index, page.encode())
        report.notes.append(f"{index}, {len(page) / 2**20:.1f} MiB")
    return report


def _write(store: Store, folder: Path, card: dict[str, Any]) -> str | None:
    """Write a card's thumbnail and image beside the page and say there where they are; return why it cannot be read."""
    stored = fetched_file(store.folder, card["file"])
    file = None if isinstance(stored, ItemError) else stored
    ending = Path(card["file"]).suffix.lower()  # a store may have come by mail: only pictures are written beside a page
    whole = f"pictures/{card['id']}{ending if ending in ENDINGS else '.png'}"
    little = f"thumbnails/{card['id']}.jpg"
    card |= {"thumbnail": little, "picture": whole if file else little}
    made = folder / little
    if file is None or not made.exists() or made.stat().st_mtime < file.stat().st_mtime:
        write_whole(made, small(file))
    if file and not (folder / whole).exists():
        (folder / whole).parent.mkdir(exist_ok=True)
        link_or_copy(file, folder / whole)
    return stored.reason if isinstance(stored, ItemError) else None
