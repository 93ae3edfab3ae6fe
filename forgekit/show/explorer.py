"""The explorer: in JupyterLab the gallery of a store's images; where nobody looks on, one version as plain HTML."""

from __future__ import annotations

from html import escape
from typing import Any

from forgekit.progress import in_notebook_server
from forgekit.show import gallery
from forgekit.show.selection import Selection, show_pictures, show_version
from forgekit.store import Store


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
        scene: the scene to begin with, as its text; None for all in the gallery, for the one with the largest
            cross-fitted gain in plain HTML.
        vision_model: the judge to begin with; None for the one that steers.
        interactive: the gallery (True) or plain HTML (False); None for the gallery where a JupyterLab or notebook
            server started the kernel.

    Raises:
        ParameterError: there is no such experiment, scene or judge in the store, or nothing in it is judged; or the
            gallery is not installed.
    """
    selection = Selection.first(store, experiment, scene, vision_model)
    if in_notebook_server() if interactive is None else interactive:
        return Explorer(selection, gallery.widget(store, gallery.begin(selection, scene=scene is not None)))
    return Explorer(selection)


class Explorer:
    """What `explore` returns. The gallery reads the store at every choice and holds nothing open."""

    def __init__(self, selection: Selection, widget: Any = None) -> None:
        self.selection, self.widget = selection, widget

    def html(self) -> str:
        """Return one version as plain HTML: prompt, elements, decisions, images."""
        chosen = self.selection
        head = f"{chosen.experiment} · version {chosen.version['iteration']} · judged by {chosen.vision_model}"
        return f"<p>{escape(head)}</p>" + show_version(chosen) + show_pictures(chosen)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Any:
        if self.widget is None:
            return {"text/html": self.html(), "text/plain": repr(self)}
        return self.widget._repr_mimebundle_()

    def __repr__(self) -> str:
        return f"Explorer({self.selection.experiment!r}, {self.selection.vision_model!r})"
