"""The report: the notebook 03_trends as one page that needs no network, runs nothing and says what the store says."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
import study
import warm
from jupyter_client.provisioning import local_provisioner

from forgekit import trends
from forgekit.errors import ForgekitError, ParameterError
from forgekit.show import report as module
from forgekit.show.report import write_report
from forgekit.store import open_store
from forgekit.store.file import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A study of two arms, of which one has no images yet, and another experiment; its texts are written by a rascal."""
    made = study.make(tmp_path_factory.mktemp("study"), experiment="colours/refine")
    study.fill(made, experiment="other", scenes=2)
    with made.transaction() as con:
        con.execute("""
            insert into prompts
                (id, scene_hash, model, prompt_text, base_parameters, generation_iteration, status, experiment)
            select uuid(), scene_hash, 'mini', 'x', '{}', 0, 'imported', 'colours/unjudged' from scenes
        """)
        con.execute("update scenes set scene_text = scene_text || '<script>a</script>'")
        con.execute("update prompts set prompt_text = prompt_text || ' <img src=http://h/x>'")
    next((made.folder / "images").rglob("*.png")).unlink()
    return made


class Page(HTMLParser):
    """Collects what a page would load, and the names of its elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: set[str] = set()
        self.alts: list[str | None] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        loads = ("src",) if tag != "link" else ("href",)
        self.loaded += [value for name, value in attrs if name in loads and value]
        self.tags.add(tag)
        self.alts += [dict(attrs).get("alt")] * (tag == "img")


@pytest.fixture(scope="module")
def page(store: Store, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report on one of the two experiments, as its HTML."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    patch = pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr(local_provisioner, "launch_kernel", warm.kernel)
        context.chdir(file.parent)  # it is found from anywhere
        context.setenv("JPY_SESSION_NAME", "as in JupyterLab")
        assert write_report(store, file, experiment="colours").done == 1
    return file.read_text()


def test_a_report_is_one_file_that_loads_nothing(page: str) -> None:
    found = Page(page)
    assert len(found.loaded) >= 6
    assert all(source.startswith("data:image/") for source in found.loaded)
    assert not found.tags & {"script", "iframe", "link", "object", "embed", "svg"}
    assert not re.search(r"url\(|@import", page)


def test_a_report_shows_no_warnings(page: str) -> None:
    assert "output_stderr" not in page


def test_every_picture_of_a_report_says_what_it_shows(page: str) -> None:
    alts = Page(page).alts
    assert all(alts)
    assert {"adherence by round", "images before and after"} <= set(alts)
    assert not [alt for alt in alts if "No description" in alt]


def test_a_text_of_the_store_is_shown_and_never_becomes_html(page: str) -> None:
    assert "&lt;script&gt;a" in page
    assert "&lt;img src=http" in page


def test_a_report_has_no_code_and_nothing_that_only_jupyter_can_do(page: str) -> None:
    assert "fk." not in page
    assert "Read again" not in page
    assert "Executed" not in page


def test_a_report_tells_the_first_and_the_last_adherence_and_shows_the_rewrites(store: Store, page: str) -> None:
    trend = trends.adherence(store, experiment="colours/refine", vision_model="mini-clip")["adherence"]
    assert f">{trend.iloc[0]:.2f}<" in page
    assert f">{trend.iloc[-1]:.2f}<" in page
    assert "mini-fuyu" in page
    assert "vivid</ins>" in page
    assert ">colours/refine<" in page
    assert not re.search("<td [^>]*>other</td>", page)


def test_an_experiment_without_scores_and_one_that_is_not_there(store: Store, tmp_path: Path) -> None:
    write_report(store, tmp_path / "empty.html", experiment="colours/unjudged")
    assert "nothing is judged yet" in (tmp_path / "empty.html").read_text()
    write_report(open_store(tmp_path / "new.duckdb"), tmp_path / "new.html")
    assert "nothing is judged yet" in (tmp_path / "new.html").read_text()
    with pytest.raises(ParameterError, match="no experiment"):
        write_report(store, tmp_path / "none.html", experiment="colour")
    assert not (tmp_path / "none.html").exists()


def test_a_notebook_that_is_not_there_or_fails_leaves_no_page(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ParameterError, match=r"no notebook .*my\.ipynb; run this in a clone"):
        write_report(store, tmp_path / "page.html", notebook=tmp_path / "my.ipynb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "site-packages" / "forgekit" / "show" / "report.py"))
    with pytest.raises(
        ParameterError, match=r"site-packages/notebooks/03_trends.ipynb or .*/notebooks/03_trends.ipynb"
    ):
        write_report(store, "page.html")
    parameters = nbformat.v4.new_code_cell("store = None", metadata={"tags": ["parameters"]})
    cells = [parameters, nbformat.v4.new_code_cell("raise ValueError('x is cursed')")]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    Path("notebooks").mkdir()  # an installed package finds that of the working folder
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), "notebooks/03_trends.ipynb")
    with pytest.raises(ForgekitError, match=r"03_trends.ipynb failed: ValueError: x is cursed"):
        write_report(store, "page.html")
    assert not Path("page.html").exists()
