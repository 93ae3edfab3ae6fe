"""Rows on their way into the store: hashed, each prompt once, and inserted, a million at a time, in SQL.

What a scene's hash and a prompt's id are is defined in Python (`scene.scene_hash`, `ids.content_id`). Here the same
values are computed by DuckDB where that is quicker: hashes of plain ASCII texts, and all ids. A test holds the two together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from forgekit.ids import FORGEKIT_NAMESPACE, canonical_json
from forgekit.scene import scene_hash
from forgekit.sources import PlainLines
from forgekit.sources.rows import SPREADSHEET_ERRORS, why_unusable

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 50_000
Connection = Any  # DuckDB's; the store alone imports it

# Words of printable ASCII with one space between them: lower case is all that their normal form takes, but for the end.
HASH = r"""
case when regexp_full_match(text, '[!-~]+( [!-~]+)*')
then sha256(coalesce(nullif(regexp_replace(lower(text), '[ .,;:!?]+$', ''), ''), lower(text))) end
"""
# position: order of the source; common: row of `commons`, what the prompt has in common with others.
INCOMING = """
create or replace temp table incoming (
    position bigint, text varchar, common integer, elements varchar, source varchar, scene_hash varchar
)
"""
TAKE_TABLE = f"insert into incoming select position, text, common, elements, source, {HASH} from chunk"
TAKE_LINES = f"""
insert into incoming
with lines as (
    select FIELDS
    from read_json($path, format = 'newline_delimited', ignore_errors = true, columns = {{COLUMNS}})
),
numbered as (
    select row_number() over () as position,
           case when json_type(text) = 'VARCHAR' then text ->> '$' end as text,
           case when coalesce(model, parameters, elements, file) is null then 0 end as common,
           category, id
    from lines
)
select position, text, common, null,
       '{{' || concat_ws(',', '"category":' || category, $origin, '"id":' || id, '"row":' || position) || '}}',
       {HASH}
from numbered
"""
IRREGULAR = """
select count(*) <> $rows
    or count(*) filter (text is null or common is null or (starts_with(text, '#') and list_contains($refused, trim(text)))) > 0
from incoming
"""
NOT_HASHED = "select position, text from incoming where scene_hash is null"
SET_HASHES = "update incoming set scene_hash = hashed.scene_hash from hashed where incoming.position = hashed.position"
FRESH = """
create or replace temp table fresh as
with firsts as (
    select min(position) as position, scene_hash, common
    from incoming
    group by scene_hash, common
),
hashed as (
    select f.position, f.scene_hash, f.common,
           sha1($namespace::blob || encode(c.head || f.scene_hash || '"}')) as digest
    from firsts f
    join commons c on c.number = f.common
)
select position, scene_hash, common,
       (digest[:12] || '5' || digest[14:16] || substr('89ab89ab89ab89ab', strpos('0123456789abcdef', digest[17]), 1)
        || digest[18:32])::uuid as id
from hashed
"""
COUNTS = """
select (select count(*) from incoming) as rows, count(*) as prompts,
       count(*) filter (id in (select id from prompts)) as known
from fresh
"""
# The indexes are cheaper to build from sorted keys.
NEW_SCENES = """
insert into scenes (scene_hash, scene_text, first_prompt_id, elements, source)
select f.scene_hash, i.text, f.id, i.elements, i.source
from (select scene_hash, min(position) as position, arg_min(id, position) as id from fresh group by scene_hash) f
join incoming i on i.position = f.position
where not exists (from scenes s where s.scene_hash = f.scene_hash)
order by f.scene_hash
"""
NEW_PROMPTS = """
insert into prompts (id, scene_hash, model, prompt_text, base_parameters, generation_iteration, status, experiment)
select f.id, f.scene_hash, c.model, i.text, c.parameters, 0, $status, $experiment
from fresh f
join incoming i on i.position = f.position
join commons c on c.number = f.common
where not exists (from prompts p where p.id = f.id)
order by f.scene_hash
"""
FIRST = """
select c.model, i.text
from fresh f
join incoming i on i.position = f.position
join commons c on c.number = f.common
order by f.position
limit $n
"""


@dataclass
class Commons:
    """What prompts have in common with others: model and parameters, numbered, with the head of what their id hashes."""

    model: str
    experiment: str
    parameters: Mapping[str, Any] = field(default_factory=dict)  # of every prompt; a row's own go first
    numbers: dict[tuple[str, str], int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.number(None, None)  # 0: the rows that say nothing of themselves

    def number(self, model: Any, parameters: Any) -> int:
        """Return the number of a row's own model and parameters; where it names no model, the import's."""
        all_parameters = {**self.parameters, **(parameters or {})}
        key = (model if isinstance(model, str) and model else self.model, canonical_json(all_parameters))
        return self.numbers.setdefault(key, len(self.numbers))

    def table(self) -> pa.Table:
        """Return the columns number, model, parameters, head."""
        import pyarrow as pa

        heads = []
        for model, parameters in self.numbers:
            identity = {"model": model, "experiment": self.experiment, "base_parameters": json.loads(parameters)}
            document = canonical_json({"kind": "prompt", "scene_hash": "", **identity})
            heads.append(document.removesuffix('"}'))  # scene_hash is the last of the sorted keys
        models, parameters = zip(*self.numbers, strict=True)
        data = {"number": list(self.numbers.values()), "model": models, "parameters": parameters, "head": heads}
        return pa.table({**data, "number": pa.array(data["number"], pa.int32())})


def chunk_table(columns: Mapping[str, list[Any]], start: int, commons: Commons, origin: Mapping[str, str]) -> pa.Table:
    """Return a chunk of rows, numbered from `start`, as `take` takes them; `origin` goes into every `source`."""
    import pyarrow as pa

    size = len(columns["text"])
    nothing = [None] * size
    own = zip(columns.get("model", nothing), columns.get("parameters", nothing), strict=True)
    annotations = columns.get("elements", nothing)
    return pa.table(
        {
            "position": pa.array(range(start, start + size), pa.int64()),
            "text": pa.array(columns["text"], pa.string()),
            "common": pa.array([commons.number(*pair) for pair in own], pa.int32()),
            "elements": pa.array([None if e is None else canonical_json(e) for e in annotations], pa.string()),
            "source": pa.array(list(_notes(columns, size, origin)), pa.string()),
        }
    )


def take(con: Connection, tables: Sequence[pa.Table]) -> None:
    """Start over with these rows."""
    con.execute(INCOMING)
    for rows in tables:
        con.register("chunk", rows)
        con.execute(TAKE_TABLE)
        con.unregister("chunk")
    for positions, texts in _not_hashed(con):
        _set_hashes(con, positions, texts)


def take_lines(con: Connection, lines: PlainLines, origin: Mapping[str, str]) -> bool:
    """Start over with a JSON Lines file that DuckDB reads itself; False where one of its rows needs a closer look."""
    con.execute(INCOMING)
    fields = {"model": "model", "parameters": "parameters", "elements": "elements", "file": "file"}
    fields |= {"id": "id", "category": "category", **lines.roles, "text": lines.text}
    if len(set(fields.values())) < len(fields):
        return False
    columns = ", ".join(f"{_quoted(name)}: 'JSON'" for name in fields.values())
    aliases = ", ".join(f"{_quoted(name)} as {role}" for role, name in fields.items())
    noted = ",".join(f'"{name}":{canonical_json(value)}' for name, value in sorted(origin.items()))
    sql = TAKE_LINES.replace("COLUMNS", columns).replace("FIELDS", aliases)
    con.execute(sql, {"path": str(lines.path), "origin": noted or None})
    refused = sorted(SPREADSHEET_ERRORS)
    if con.execute(IRREGULAR, {"rows": lines.rows, "refused": refused}).fetchall()[0][0]:
        return False
    for positions, texts in _not_hashed(con):
        if any(map(why_unusable, texts)):
            return False
        _set_hashes(con, positions, texts)
    return True


def find_fresh(con: Connection, commons: Commons) -> dict[str, int]:
    """Make each prompt of what was taken once; return how many rows, prompts, and prompts already stored there are."""
    con.register("commons", commons.table())
    con.execute(FRESH, {"namespace": FORGEKIT_NAMESPACE.bytes})
    return dict(zip(("rows", "prompts", "known"), con.execute(COUNTS).fetchall()[0], strict=True))


def insert_fresh(con: Connection, *, status: str, experiment: str) -> int:
    """Insert the scenes and prompts that are not stored yet; return how many prompts."""
    con.execute(NEW_SCENES)
    return con.execute(NEW_PROMPTS, {"status": status, "experiment": experiment}).fetchall()[0][0]


def first_prompts(con: Connection, n: int) -> list[tuple[str, str]]:
    """Return model and text of the first `n` prompts taken."""
    return con.execute(FIRST, {"n": n}).fetchall()


def _not_hashed(con: Connection) -> Iterator[tuple[list[int], list[str]]]:
    for batch in con.sql(NOT_HASHED).to_arrow_table().to_batches(BATCH):
        yield batch["position"].to_pylist(), batch["text"].to_pylist()


def _set_hashes(con: Connection, positions: list[int], texts: list[str]) -> None:
    import pyarrow as pa

    con.register("hashed", pa.table({"position": positions, "scene_hash": [scene_hash(text) for text in texts]}))
    con.execute(SET_HASHES)
    con.unregister("hashed")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _notes(columns: Mapping[str, list[Any]], size: int, origin: Mapping[str, str]) -> Iterator[str]:
    """Yield `scenes.source` of each row as canonical JSON: the origin and whatever else the row says of itself."""
    own = [name for name in columns if name not in ("text", "elements", "parameters", "model")]
    names = sorted({*own, *origin})
    cells = [_cells(columns[name]) if name in own else [canonical_json(origin[name])] * size for name in names]
    labels = [f'"{name}":' for name in names]
    for row in zip(*cells, strict=True):
        yield "{" + ",".join([label + cell for label, cell in zip(labels, row, strict=True) if cell]) + "}"


def _cells(values: list[Any]) -> list[str]:
    """Return values as JSON, "" for those that are missing."""
    encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
    return ["" if value is None or value != value else encode(value) for value in values]
