"""Rows on their way into the store: hashed, each prompt once, and inserted all together."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from forgekit.errors import ForgekitError, ParameterError
from forgekit.ids import canonical_json, content_id, storable
from forgekit.scene import scene_hash, split_prompt
from forgekit.scene.syntax.parameters import checked_parameters
from forgekit.sources.rows import BadRow, excerpt, is_missing, why_unusable
from forgekit.stages.calls import TRACEBACK_END, reason_of

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

LISTED_BAD_ROWS = 1000  # in api_logs; the report holds them all
# `asked` is null where the prompt has no syntax: its text is what it asks for.
COLUMNS = (
    "id", "scene_hash", "model", "prompt_text", "asked", "directives", "base_parameters", "elements", "read_by", "source",
)  # fmt: skip
# The indexes are cheaper to build from sorted keys. A scene's own text is its first one.
NEW_SCENES = """
insert into scenes (scene_hash, scene_text, first_prompt_id, elements, read_by, source)
select scene_hash, coalesce(asked, prompt_text), id, elements, read_by, source
from incoming
where position in (select min(position) from incoming group by scene_hash)
  and not exists (from scenes s where s.scene_hash = incoming.scene_hash)
order by scene_hash
"""
NEW_PROMPTS = """
insert into prompts
    (id, scene_hash, model, prompt_text, directives, base_parameters, generation_iteration, status, experiment)
select id, scene_hash, model, prompt_text, directives, base_parameters, 0, $status, $experiment
from incoming
where not exists (from prompts p where p.id = incoming.id::uuid)
order by scene_hash
"""
# Scenes that a benchmark annotates and that were there before, read otherwise: they keep what they are judged against.
READ_OTHERWISE = """
select count(distinct scene_hash)
from incoming
join scenes s using (scene_hash)
where incoming.elements is not null
  and s.elements is distinct from incoming.elements::json
"""
KNOWN = "select count(*) from incoming where id::uuid in (select id from prompts)"


@dataclass
class Intake:
    """The prompts of a source, each once, as Arrow tables: a million rows must not become a million dicts."""

    model: str  # of the rows that name none
    experiment: str
    parameters: Mapping[str, Any]  # of every prompt; what a row says itself goes before
    origin: Mapping[str, str]  # what `scenes.source` says of all rows
    outside: bool = False  # prompts whose pictures come along: none of those drawn here, and a seed is the picture's
    rows: int = 0  # how many good ones came, those that were there before included
    with_syntax: int = 0  # of the prompts
    bad: list[BadRow] = field(default_factory=list)
    traceback: str | None = None  # of the last row that met with an error nobody raised on purpose
    tables: list[pa.Table] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)

    def add(self, frame: pd.DataFrame) -> list[str | None]:
        """Take rows up, those that are no prompt taken before; return the id of each row's prompt.

        A row that cannot be a prompt is bad, with its reason, and has none.
        """
        import pyarrow as pa

        fresh: list[dict[str, Any]] = []
        ids: list[str | None] = []
        for said in frame.to_dict("records"):
            try:
                row = self._prompt(said)
            except Exception as error:  # this row's failure: the others go in
                self.bad.append(BadRow(said["row"], reason_of(error), excerpt(said["text"]), said.get("file") or ""))
                if not isinstance(error, ForgekitError):
                    self.traceback = traceback.format_exc()[-TRACEBACK_END:]
                ids.append(None)
                continue
            ids.append(row["id"])
            if row["id"] not in self.ids:
                self.ids.add(row["id"])
                self.with_syntax += row["asked"] is not None
                fresh.append({"position": len(self.ids), **row})
            self.rows += 1
        schema = pa.schema([("position", pa.int64()), *((name, pa.string()) for name in COLUMNS)])
        self.tables.append(pa.Table.from_pylist(fresh, schema=schema))
        return ids

    def _prompt(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row as a prompt. What it says besides goes into `source`, next to where it came from.

        A column of a name that we use there is "row (column)". Prompts of one scene whose syntax differs are different prompts.
        """
        said = {name: value for name, value in row.items() if not is_missing(value)}
        text, elements = said.pop("text"), said.pop("elements", None)
        if reason := why_unusable(text):  # a template may have become one
            raise ParameterError(reason)
        parts = split_prompt(text)
        drawn: dict[str, Any] = {} if parts.asked == text else {"drawn": text}
        own = said.pop("parameters", {})
        parameters = checked_parameters({**self.parameters, **parts.parameters, **own})
        if self.outside:
            drawn["outside"] = True
            parameters.pop("seed", None)
        brought = {n: parameters.get(n) for n in own if n != "seed" and self.parameters.get(n) != parameters.get(n)}
        directives = parts.all_directives(brought)
        besides, model = said.pop("source", {}), said.pop("model", self.model)
        ours = {**self.origin, **said}
        besides = {f"{name} (column)" if name in ours else name: value for name, value in besides.items()}
        by = {"reader": "annotation", "benchmark": self.origin.get("benchmark")}  # null where none was named
        named = {"scene_hash": scene_hash(parts.asked), "model": model}
        return {
            "id": content_id("prompt", **named, **drawn, experiment=self.experiment, base_parameters=parameters),
            **named,
            "prompt_text": text,
            "asked": parts.asked if "drawn" in drawn else None,
            "directives": canonical_json(storable(directives)) if directives else None,
            "base_parameters": canonical_json(parameters),
            "elements": None if elements is None else canonical_json(storable(elements)),
            "read_by": None if elements is None else canonical_json(by),
            "source": canonical_json(storable(besides | ours)),
        }

    def first(self, n: int) -> list[dict[str, Any]]:
        """Return the first `n` prompts."""
        return [row for table in self.tables for row in table.slice(0, n).to_pylist()][:n]

    def scene_hashes(self) -> list[str]:
        """Return the scenes of the prompts, each once."""
        return list(dict.fromkeys(each for table in self.tables for each in table["scene_hash"].to_pylist()))

    def store(self, con: Any, status: str) -> tuple[int, int, int]:
        """Insert the scenes and prompts that are not stored yet, the latter in `status`; without one nothing is stored.

        Returns:
            How many prompts are new, how many are not, and how many scenes were read before, without their annotation.
        """
        import pyarrow as pa

        con.register("incoming", pa.concat_tables(self.tables))
        known = con.execute(KNOWN).fetchall()[0][0]
        if status:
            con.execute(NEW_SCENES)
            con.execute(NEW_PROMPTS, {"status": status, "experiment": self.experiment})
        otherwise = con.execute(READ_OTHERWISE).fetchall()[0][0]
        con.unregister("incoming")
        return len(self.ids) - known, known, otherwise


def origin_of(source: Any) -> dict[str, str]:
    """Return what `scenes.source` says of all rows of a source: the file's name."""
    return {"file": Path(source).name} if isinstance(source, str | Path) else {}


def place_of(row: BadRow) -> str:
    """Return where a bad row stands, as reports say it."""
    return f"{row.file or 'row'} {row.row}"
