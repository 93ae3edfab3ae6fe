"""The rules of a whole store, in a table: each with what it means, what finds its breaches, and how they are mended."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources

from forgekit.store import Store
from forgekit.store.schema import load_schema
from forgekit.upkeep import contents, files
from forgekit.upkeep.documents import broken_documents, load_documents

MOVED = "the MLflow mirror shows no pictures until the next `forgekit track`, for it was written when it lay in"
SEND_AGAIN = "update generated_images set kept_at = null where id::varchar in (select unnest($ids::varchar[]))"
TABLE = resources.files("forgekit.upkeep") / "rules.toml"


@dataclass(frozen=True)
class Rule:
    """What must not be: its name, what it means, what finds it, and how it is mended ("": nothing else knows how it was)."""

    name: str
    means: str
    find: Callable[[Store], Iterator[tuple[str, str]]]
    mend: str = ""
    of_files: bool = False

    def findings(self, store: Store) -> dict[str, str]:
        """Return what breaks the rule, by id, each as a line of the report."""
        return {key: f"{self.means}: {key}{f' ({told})' if told else ''}" for key, told in self.find(store)}


@cache
def load_rules() -> tuple[Rule, ...]:
    """Return all rules, those first whose repair the others build on."""
    asked = [
        Rule(name, entry["means"], partial(_asked, entry["sql"]), entry.get("mend", ""))
        for name, entry in tomllib.loads(TABLE.read_text("utf-8")).items()
    ]
    documents = []
    for name, validator in load_documents().items():
        find = partial(broken_documents, name=name, validator=validator)
        mend = "ask again" if name.startswith("image_evaluations.") else ""  # what a judge said can be asked for again
        documents.append(Rule(name, f"{name} is not what it should be", find, mend))
    of_content = [
        Rule(f"{kind}-id", f"the id of a {told} is not that of its content", contents.ids(kind, sql))
        for kind, (told, sql) in contents.BY_CONTENT.items()
    ]
    return (
        Rule("schema", "the schema is not that of forgekit", _schema, "remake"),
        *documents,
        Rule("scene-hash", "the hash of a scene is not that of its text", contents.scene_hashes),
        Rule("prompt-id", "the id of a prompt is not that of its content", contents.prompt_ids),
        *of_content,
        Rule("element-keys", "what was asked and what the scene has differ", contents.element_keys),
        Rule("experiment-name", "an experiment cannot be called so", contents.names),
        *asked,
        Rule("image-path", "an image does not lie where it should", files.image_paths, "", True),
        Rule("image-missing", "image file is missing", files.missing_images, "redraw", True),
        Rule("image-copy", "the copy of an image is not where it was sent", files.lost_copies, SEND_AGAIN, True),
        Rule("image-bytes", "an image file has other bytes than were written", files.image_bytes, "redraw", True),
        Rule("orphan", "a file belongs to no image", files.orphans, "set aside", True),
        Rule("dead-worker", "a worker died and left its lock or its claims", files.dead_locks, "forget", True),
        Rule("mirror-place", MOVED, files.moved_mirror, "", True),
        Rule("mirror", "the mirror shows another picture", files.mirrored, "link", True),
    )


def _asked(sql: str, store: Store) -> Iterator[tuple[str, str]]:
    return ((row["id"], "") for row in store.rows(f"select id::varchar as id from ({sql}) order by all"))


def _schema(store: Store) -> Iterator[tuple[str, str]]:
    with store.held_still() as con:
        yield from ((what, "") for what in load_schema().differences(con))
