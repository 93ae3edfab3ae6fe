"""Rating by people in JupyterLab: one image, element or pair at a time, blind, each answer in the store at once.

The page gets pixels, the scene text and buttons: no path, id or seed, no name of an arm or judge, no score. What judges say is
shown when all is answered, not while it goes on: a figure that moves with each answer would tell.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from html import escape
from typing import Any

from forgekit.errors import ForgekitError, ItemError, ParameterError
from forgekit.judge_tests.calibration import calibrate
from forgekit.judge_tests.people import people, win_rates
from forgekit.judge_tests.rating_plan import Item, rating_plan
from forgekit.judge_tests.ratings import SOURCE, keep_rating, ratings_by
from forgekit.progress import in_notebook_server
from forgekit.show import pages
from forgekit.show.sheets import EMPTY, encoded
from forgekit.store import Store
from forgekit.store.images import read_image

SIDE = 448  # pixels of the longer side, of every image: its size must not tell who drew it
CANNOT_TELL = "I cannot tell"
ADHERES_FROM = 0.75  # a mean rating of 4 on a scale from 1 to 5
JUDGES = (
    "select distinct vision_model from image_scores where image_id in (select image_id from people_say) order by all"
)


def rate(
    store: Store,
    *,
    rater: str,
    kind: str = "image",
    n: int = 48,
    seed: int = 0,
    arms: Sequence[str] | None = None,
    overlap: float = 1.0,
    interactive: bool | None = None,
) -> Rating:
    """Return a rating of images of the store, which goes on where this rater left off; shown as the last line of a cell.

    Args:
        rater: who rates: any name that stays the same.
        kind: "image" (1 to 5), "element" (yes or no), or "pair" (A against B).
        n: how many images, or pairs; `judging.rating_plan` says how they are drawn.
        seed: another one draws others, in another order.
        arms: experiments whose images are rated; None for all. Pairs are of two of them; of a single one, of its first
            drawings and what each scene came to.
        overlap: the share of them that every rater is asked about.
        interactive: widgets (True) or a line of text (False); None for widgets where a JupyterLab or notebook server
            started the kernel.

    Raises:
        ParameterError: an argument outside its range, an arm that nobody knows, or nothing to rate.
    """
    items = rating_plan(store, rater=rater, kind=kind, n=n, seed=seed, arms=arms, overlap=overlap)
    return Rating(store, rater, kind, items, in_notebook_server() if interactive is None else interactive)


class Rating:
    """What `rate` returns: the items in this rater's order, what is said of them, and the `place` of the one that is shown."""

    def __init__(self, store: Store, rater: str, kind: str, items: Sequence[Item], interactive: bool) -> None:
        self.store, self.rater, self.kind, self.items, self.interactive = store, rater, kind, items, interactive
        self._go_on(0)
        self._widget: Any = None

    def _go_on(self, place: int) -> None:
        """Go to the next item, from `place` on, that nothing is said of; behind the last one where there is none."""
        self.said = ratings_by(self.store, self.rater)
        self.left = [number for number, item in enumerate(self.items) if item.key not in self.said]
        self.place = next((other for other in self.left if other >= place), (*self.left, len(self.items))[0])

    @property
    def item(self) -> Item | None:
        """What is shown; None where all is answered."""
        return self.items[self.place] if self.place < len(self.items) else None

    def answer(self, rating: float | None, reason: str | None = None) -> None:
        """Keep what is said of the item that is shown, or why nothing is, and go on to the next one."""
        if self.item is not None:
            keep_rating(self.store, self.item, rater=self.rater, rating=rating, reason=reason)
            self._go_on(self.place)

    def back(self) -> None:
        """Show the item before, to correct what was said of it."""
        self.place = max(0, self.place - 1)

    def html(self) -> str:
        """Return what stands above the images: how far this is, the scene text, the question."""
        told = f"<p>{len(self.items) - len(self.left)} of {len(self.items)} · {escape(self.rater)}"
        if self.item is None:
            return f"{told} · all done, thank you</p>"
        row = self.said.get(self.item.key)
        labels = {answer.rating: answer.label for answer in self.item.answers}
        before = f" <i>You said: {escape(labels.get(row['rating']) or row['reason'])}.</i>" if row else ""
        text = f"<p style='font-size:1.4em; line-height:1.3'><b>{escape(self.item.scene_text)}</b></p>"
        return f"{told}</p>{text}<p style='font-size:1.2em'>{escape(self.item.question)}{before}</p>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        if not self.interactive:
            return {"text/plain": repr(self)}
        if self._widget is None:
            self._widget = build(self)
        return self._widget._repr_mimebundle_()

    def __repr__(self) -> str:
        done, scenes = len(self.items) - len(self.left), len({item.scene_text for item in self.items})
        how = "run this cell in JupyterLab to go on" if self.left else "fk.judging.people(store) has what came of it"
        return f"Rating by {self.rater!r}, {self.kind} by {self.kind}, of {scenes} scenes: {done} done, {len(self.left)} left; {how}"


def pixels(store: Store, image_path: str) -> bytes:
    """Return a stored image as PNG, at the size of all and without what its file says; grey where it cannot be read."""
    from PIL import Image, ImageOps

    read = read_image(store.folder, image_path)
    shown = Image.new("RGB", (SIDE, SIDE), EMPTY) if isinstance(read, ItemError) else read
    shown = ImageOps.contain(shown, (SIDE, SIDE))
    clean = Image.new("RGB", shown.size)
    clean.paste(shown)
    return encoded(clean, "png")


def build(rating: Rating) -> Any:
    """Return the widgets, wired to the rating."""
    try:
        import ipywidgets as w
    except ImportError as error:
        raise ParameterError("rating needs ipywidgets: pip install 'forgekit[lab]'") from error
    head, images, answers, controls, trouble, results = w.HTML(), w.HBox(), w.HBox(), w.HBox(), w.HTML(), w.VBox()
    back, keys = (
        w.Button(description="Back"),
        w.Text(placeholder="click here to use the keys", layout=w.Layout(width="15em")),
    )
    why = w.Combobox(value=CANNOT_TELL, options=[CANNOT_TELL, "the text is unclear", "the picture is broken"])
    large, apart, style = (
        w.Layout(width="auto", min_width="6em", height="3em"),
        w.Layout(margin="0 1em 0 0"),
        w.ButtonStyle(),
    )
    turn = threading.RLock()  # messages come in threads of their own, as in the explorer

    def act(do: Callable[[], Any], item: Item | None) -> None:
        with turn:
            if item is not rating.item:
                return  # the second click of two is no answer to what nobody has seen yet
            try:
                do()
                show()
                trouble.value = ""
            except ForgekitError as error:  # a busy store is no reason to lose the widgets
                trouble.value = f'<p style="color:{pages.BAD}">{escape(str(error))}</p>'

    def show() -> None:
        item, old = rating.item, (*images.children, *answers.children, *controls.children[2:3])
        paths = item.paths if item else ()
        images.children = [w.Image(value=pixels(rating.store, path), layout=apart) for path in paths]
        answers.children = (
            [button(answer.label, partial(rating.answer, answer.rating)) for answer in item.answers] if item else []
        )
        skip = button("Skip, because", lambda: rating.answer(None, why.value.strip() or CANNOT_TELL), back.layout)
        controls.children = [back, keys, skip, why] if item else [back]
        head.value, back.disabled = rating.html(), rating.place == 0
        results.children = [] if rating.left else _results(w, rating)
        for widget in old:
            widget.close()

    def button(label: str, do: Callable[[], None], layout: Any = large) -> Any:
        made, item = w.Button(description=label, layout=layout, style=style), rating.item
        made.on_click(lambda _: act(do, item))
        return made

    def typed(change: dict[str, Any]) -> None:
        with turn:  # of two keys at once the second is for what nobody has seen yet
            item = rating.item
            keys.value = ""  # first: who sees the next item types into an empty field
            keys.send_state("value")
            for answer in item.answers if item and change["new"] else ():
                if answer.key == change["new"].lower():
                    act(partial(rating.answer, answer.rating), item)

    keys.observe(typed, "value")
    back.on_click(lambda _: act(rating.back, rating.item))
    show()
    return w.VBox(
        [head, answers, controls, trouble, images, results]
    )  # what is clicked stays where it is, whatever the image


def _results(w: Any, rating: Rating) -> list[Any]:
    """Return what is shown when all is answered: agreement, and who wins, or a button that calibrates."""
    agreed, pairs = people(rating.store, source=SOURCE), rating.kind == "pair"
    tables = [agreed[agreed["kind"] == rating.kind], win_rates(rating.store, source=SOURCE).head(9 if pairs else 0)]
    shown = "".join(pages.table(table).to_html() for table in tables if len(table)) or "Nobody else has seen these."
    told, made = w.HTML(f'<style>{pages.NESTED}</style><div class="forgekit">{shown}</div>'), w.HTML()
    button = w.Button(description="Calibrate the judges by these ratings", layout=w.Layout(width="24em"))
    button.on_click(lambda _: setattr(made, "value", calibrated(rating.store)))
    return [told] if pairs else [told, button, made]


def calibrated(store: Store) -> str:
    """Calibrate each judge of the rated images by the ratings (`judging.calibrate`), and return what came of it as HTML."""
    told = [
        "<p>From the threshold on an image adheres; where there is none, the pass mark stays: rate more images.</p>"
    ]
    for row in store.rows(JUDGES):
        try:
            made = calibrate(store, judges=[row["vision_model"]], rated_at=ADHERES_FROM)
            told.append(pages.table(made).to_html())
        except ForgekitError as error:
            told.append(f"<p>{escape(str(error))}</p>")
    return "".join(told)
