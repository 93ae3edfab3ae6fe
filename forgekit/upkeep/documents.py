"""The JSON documents of the six tables: what each holds at least (documents.toml); less, or other kinds, is damage."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from importlib import resources
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, create_model

from forgekit.store import Store

FINITE = ConfigDict(strict=True, allow_inf_nan=False, extra="allow")
SHARE = Annotated[float, Field(ge=0, le=1)]
INDEX = Annotated[int, Field(ge=0)]
UUID = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
KINDS: dict[str, Any] = {
    "text": str,
    "whole": int,
    "index": INDEX,
    "number": float,
    "share": SHARE,
    "shares": dict[str, SHARE | None],
    "id": UUID,
    "hash": Annotated[str, Field(pattern="^[0-9a-f]{64}$")],
    "count": int | str | None,
    "reader": Annotated[str, Field(pattern="^(annotation|language model|rules|nobody)$")],
    "decision": Annotated[str, Field(pattern="^(accept|stop|confirm|redraw|rewrite)$")],
    "truth": bool,
    "document": dict[str, Any] | list[Any],
}


def load_documents() -> dict[str, Any]:
    """Return what validates each document, by "table.column"."""
    told = tomllib.loads((resources.files("forgekit.upkeep") / "documents.toml").read_text("utf-8"))
    return {
        name: TypeAdapter(_kind(entry), config=None if isinstance(entry, dict) else FINITE)
        for name, entry in told.items()
    }


def _kind(told: Any) -> Any:
    """Return the type that an entry names: a word of KINDS, null too where it ends in "?"; [one of a list]; {a document}."""
    if isinstance(told, dict):
        fields: dict[str, Any] = {
            name.removesuffix("?"): (_kind(kind), None if name.endswith("?") else ...) for name, kind in told.items()
        }
        return create_model("document", __config__=FINITE, **fields)
    if isinstance(told, list):
        return list.__class_getitem__(_kind(told[0]))
    return KINDS[told.removesuffix("?")] | None if told.endswith("?") else KINDS[told]


def broken_documents(store: Store, name: str, validator: Any) -> Iterator[tuple[str, str]]:
    """Yield the id of each row whose document is not as it should be, and what is wrong with it. Null is left to the rules."""
    table, _, column = name.partition(".")
    key = "scene_hash" if table == "scenes" else "id"
    sql = f"select {key}::varchar as id, {column}::varchar as document from {table} where {column} is not null order by all"
    for row in store.rows(sql):
        try:
            validator.validate_json(row["document"], strict=True)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            yield row["id"], ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))
        else:
            if _not_finite(row["document"]):
                yield row["id"], "a number in it is none (nan or inf)"


def _not_finite(document: str) -> bool:
    """Say whether a document has a number that is none, at any depth; DuckDB takes such for JSON."""
    found: list[str] = []
    if "NaN" in document or "Infinity" in document:
        json.loads(document, parse_constant=found.append)
    return bool(found)
