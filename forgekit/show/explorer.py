"""An explorer of a store for JupyterLab: choose an experiment, a scene, a version and a judge, and see all about it.

It reads the store at every choice and holds nothing open, so another process can write meanwhile. Where there is no
browser (papermill, nbconvert) the same cell shows what is chosen as plain HTML.
"""

from __future__ import annotations

import threading
from html import escape
from typing import Any

from forgekit.errors import ForgekitError, ParameterError
from forgekit.progress import in_notebook_server
from forgekit.show import pages
from forgekit.show.selection import ORDERS, SCOPES, Selection, show_pictures, show_version
from forgekit.store import Store

LABEL = 70  # characters of a scene text in the list of scenes


def explore(
    store: Store,
    *,
    experiment: str | None = None,
    scene: str | None = None,
    vision_model: str | None = None,
    interactive: bool | None = None,
) -> Explorer:
    """Return an explorer of the store; as the last line of a notebook cell it is shown.

    Args:
        experiment: the one to begin with; None for the first.
        scene: the scene to begin with, as its text; None for the one with the largest cross-fitted gain.
        vision_model: the judge to begin with; None for the one that steers.
        interactive: widgets (True) or plain HTML (False); None for widgets where a JupyterLab or notebook server
            started the kernel.

    Raises:
        ParameterError: there is no such experiment, scene or judge in the store, or nothing in it is judged.
    """
    selection = Selection.first(store, experiment, scene, vision_model)
    return Explorer(store, selection, in_notebook_server() if interactive is None else interactive)


class Explorer:
    """What `explore` returns. `selection` says what is shown and may be set by code as well."""

    def __init__(self, store: Store, selection: Selection, interactive: bool) -> None:
        self.store, self.selection, self.interactive = store, selection, interactive
        self._widget: Any = None

    def html(self) -> str:
        """Return what is chosen as plain HTML: prompt, elements, decisions, images."""
        chosen = self.selection
        head = f"{chosen.experiment} · version {chosen.version['iteration']} · judged by {chosen.vision_model}"
        return f"<p>{escape(head)}</p>" + show_version(chosen) + show_pictures(chosen)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        if not self.interactive:
            return {"text/html": self.html(), "text/plain": repr(self)}
        if self._widget is None:
            self._widget = build(self.selection)
        return self._widget._repr_mimebundle_()

    def __repr__(self) -> str:
        return f"Explorer({self.selection.experiment!r}, {self.selection.version['prompt_text']!r})"


def build(chosen: Selection) -> Any:
    """Return the widgets, wired to the selection."""
    try:
        import ipywidgets as w
    except ImportError as error:
        raise ParameterError(
            "the interactive explorer needs ipywidgets: pip install 'forgekit[lab]', or explore(…, interactive=False)"
        ) from error
    controls = _controls(w, chosen)
    experiment, scene, version, judge, scope, order, scores = controls
    scope_label = w.Label("images of", layout=w.Layout(width="80px", justify_content="flex-end"))  # as the others'
    again = w.Button(description="Read again", tooltip="what other processes have written meanwhile")
    about, images, trouble = w.HTML(), w.HTML(), w.HTML()
    # JupyterLab has a widget's messages handled in threads of their own (subshells), so a choice may come while another
    # is drawn: it waits. What the drawing thread itself sets fires the observers too, but is nobody's choice.
    drawing, turn = [False], threading.RLock()

    def redraw(change: dict[str, Any] | None = None) -> None:
        with turn:
            if drawing[0]:
                return
            drawing[0] = True
            try:
                if change:
                    setattr(chosen, controls[change["owner"]], change["new"])
                trouble.value = ""
                try:
                    _redraw(chosen, controls, about, images)
                except ForgekitError as error:  # a busy store is no reason to lose the widgets
                    trouble.value = f'<p style="color:{pages.BAD}">{escape(str(error))}</p>'
                if change:  # the drawing it waited for may have set this control back in the page
                    change["owner"].send_state()
            finally:
                drawing[0] = False

    for control in controls:
        control.observe(redraw, "value")
    again.on_click(lambda _: redraw())
    redraw()
    choosing = [experiment, scene, w.HBox([version, again]), judge]
    return w.VBox([*choosing, trouble, about, w.HBox([scope_label, scope]), order, scores, images])


def _controls(w: Any, chosen: Selection) -> dict[Any, str]:
    """Return the widgets to choose with, in their order, each with the attribute of the selection that it sets."""
    wide = w.Layout(width="44em")
    lists = {"experiment": "experiment", "scene": "scene_hash", "version": "prompt_id", "judge": "vision_model"}
    controls = {w.Dropdown(description=label, layout=wide): attribute for label, attribute in lists.items()}
    scope = w.ToggleButtons(options=SCOPES, value=chosen.scope)
    order = w.ToggleButtons(options=ORDERS, value=chosen.order)
    scores = w.FloatRangeSlider(
        description="score", min=0, max=1, step=0.01, value=chosen.scores, continuous_update=False, layout=wide
    )
    return {**controls, scope: "scope", order: "order", scores: "scores"}


def _redraw(chosen: Selection, controls: dict[Any, str], about: Any, images: Any) -> None:
    chosen.refresh()
    scenes, versions = chosen.scenes, chosen.versions
    options = {
        "experiment": [(name, name) for name in chosen.experiments],
        "scene_hash": [(_scene_label(row), row.scene_hash) for row in scenes.itertuples()],
        "prompt_id": [(_version_label(row), row.prompt_id) for row in versions.itertuples()],
        "vision_model": [(name, name) for name in chosen.judges],
    }
    for control, name in controls.items():
        if name in options and tuple(options[name]) != tuple(control.options):
            control.options = options[name]
        control.value = getattr(chosen, name)
    about.value, images.value = show_version(chosen), show_pictures(chosen)


def _scene_label(row: Any) -> str:
    text = row.scene_text if len(row.scene_text) <= LABEL else row.scene_text[: LABEL - 1] + "…"
    return f"{row.gain:+.2f}  {text}" if row.gain == row.gain else text


def _version_label(row: Any) -> str:
    score = f"{row.current_score:.2f}" if row.current_score == row.current_score else row.status
    made_by = row.action if isinstance(row.action, str) else "first version" if row.iteration == 0 else "rewritten"
    made_by = "on fresh seeds" if row.decision == "confirm" else made_by
    return f"v{row.iteration} · {score} · {made_by} · {row.model}"
