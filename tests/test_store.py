"""The store: schema, short transactions, status changes, claims."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import duckdb
import pytest

import forgekit as fk
from forgekit.errors import StatusError, StoreError
from forgekit.ids import content_id
from forgekit.store.file import RECORD_TABLES
from forgekit.store.images import link_or_copy, write_whole
from forgekit.store.rows import insert_rows, update_rows
from forgekit.store.schema import FOLDER, Schema, load_schema

KNOWN = sum(file.name[0].isdigit() for file in FOLDER.iterdir())  # migrations
SEED_COLUMNS = {
    "scenes": "scene_hash scene_text first_prompt_id created_at",
    "prompts": "id scene_hash model prompt_text base_parameters generation_iteration status best_image_id current_score "
    "created_at last_updated",
    "generated_images": "id prompt_id image_path generation_metadata is_adhering adherence_score evaluation_details "
    "created_at",
    "image_evaluations": "id image_id prompt_id scene_hash vision_model model_output adherence_analysis created_at",
    "prompt_learnings": "id prompt_id parent_learning_id adherence_analysis error_patterns status created_at",
    "api_logs": "id learning_id error_context created_at",
}


def add_prompt(store, status="imported", text="a cat"):
    scene = {"scene_hash": content_id("scene", text=text), "scene_text": text}
    prompt_id = content_id("prompt", text=text)
    row = {"id": prompt_id, "scene_hash": scene["scene_hash"], "model": "mini", "prompt_text": text}
    with store.transaction() as con:
        insert_rows(con, "scenes", [scene])
        insert_rows(con, "prompts", [{**row, "base_parameters": {}, "generation_iteration": 0, "status": status}])
    return prompt_id


@pytest.mark.parametrize("table", RECORD_TABLES)
def test_every_table_has_the_columns_of_the_seed(store, table):
    columns = set(store.df(f"select * from {table}").columns)
    assert set(SEED_COLUMNS[table].split()) <= columns


def test_the_status_enum_holds_the_whole_set_of_statuses(store):
    statuses = store.rows("select unnest(enum_range(null::prompt_status)) as status")
    expected = "draft imported incomplete completed generating generated evaluating evaluated needs_refinement archived"
    assert [row["status"] for row in statuses] == expected.split()


def test_opening_a_store_twice_changes_nothing(store):
    add_prompt(store)
    again = fk.open_store(store.path)
    assert again.rows("select count(*) as n from prompts") == [{"n": 1}]


def test_a_store_of_a_newer_forgekit_is_refused(store):
    with store.transaction() as con:
        con.execute("insert into schema_state values (99, '9.0.0', '')")
    with pytest.raises(
        StoreError, match=f"has schema migration 99, this forgekit knows {KNOWN}; .*pip install --upgrade"
    ):
        fk.open_store(store.path)


@pytest.fixture
def next_schema(tmp_path):
    """Return the schema with another migration, as the next release may have."""

    def make(migration):
        folder = tmp_path / content_id(migration)
        shutil.copytree(str(FOLDER), folder)
        (folder / f"{KNOWN + 1:03}_next.sql").write_text(migration)
        return load_schema(folder)

    return make


def test_an_older_store_gets_the_migrations_that_it_lacks_once_and_keeps_what_it_has(store, next_schema):
    prompt_id = add_prompt(store)
    newer = next_schema("alter table scenes add column seen integer; update scenes set seen = coalesce(seen, 0) + 1;")
    for _ in range(2):
        with store.transaction() as con:
            newer.apply(con, "the store")
    assert store.rows("select s.seen, p.id from scenes s join prompts p using (scene_hash)") == [
        {"seen": 1, "id": prompt_id}
    ]
    with pytest.raises(
        StoreError, match=f"has schema migration {KNOWN + 1}, this forgekit knows {KNOWN}; it was left as it is"
    ):
        fk.open_store(store.path)


def test_a_store_of_schema_2_0_0_gets_the_new_columns_and_keeps_its_prompts(tmp_path):
    path = tmp_path / "old.duckdb"
    with duckdb.connect(str(path)) as con:
        Schema(load_schema().migrations[:1], "select 1").apply(con, str(path))
        con.execute("insert into scenes (scene_hash, scene_text) values ('a', 'a red circle')")
    store = fk.open_store(path)
    assert store.rows("select scene_text, read_by from scenes") == [{"scene_text": "a red circle", "read_by": None}]
    assert store.df("select directives from prompts").empty


def test_a_store_of_schema_2_1_0_keeps_its_ratings(tmp_path):
    path, ids = tmp_path / "old.duckdb", {name: content_id(name) for name in ("prompt", "image", "rating")}
    with duckdb.connect(str(path)) as con:
        Schema(load_schema().migrations[:2], "select 1").apply(con, str(path))
        con.execute("insert into scenes (scene_hash, scene_text) values ('a', 'a red circle')")
        prompt = {"id": ids["prompt"], "scene_hash": "a", "model": "m", "prompt_text": "a"}
        insert_rows(
            con, "prompts", [{**prompt, "base_parameters": {}, "generation_iteration": 0, "status": "generated"}]
        )
        image = {"id": ids["image"], "prompt_id": ids["prompt"], "image_path": "images/a.png"}
        insert_rows(con, "generated_images", [{**image, "generation_metadata": {}}])
        rating = {"id": ids["rating"], "image_id": ids["image"], "rating": 4, "scale_low": 1, "scale_high": 5}
        insert_rows(con, "human_ratings", [{**rating, "source": "people"}])
    store = fk.open_store(path)
    assert store.rows("select image_id, rating from image_ratings") == [{"image_id": ids["image"], "rating": 0.75}]
    assert store.rows("select id, element, other_image_id, reason, replaces from human_ratings") == [
        {"id": ids["rating"], **dict.fromkeys(("element", "other_image_id", "reason", "replaces"))}
    ]


def test_a_migration_that_breaks_half_way_leaves_the_store_as_it_was(store, next_schema):
    newer = next_schema("create table half (id integer); insert into nowhere values (1);")
    with pytest.raises(duckdb.CatalogException), store.transaction() as con:
        newer.apply(con, "the store")
    assert fk.open_store(store.path).df("from duckdb_tables() where table_name = 'half'").empty


def test_a_store_with_the_views_of_another_forgekit_gets_those_of_this_one(store):
    columns = store.df("from current_scores").columns.tolist()
    with store.transaction() as con:
        con.execute("create or replace view current_scores as select 1 as stale")
        con.execute("update schema_state set views_hash = 'of another one'")
    assert fk.open_store(store.path).df("from current_scores").columns.tolist() == columns


def test_inserting_the_same_rows_twice_adds_them_once(store):
    add_prompt(store)
    add_prompt(store)
    assert store.rows("select count(*) as n from prompts") == [{"n": 1}]


def test_an_error_inside_a_transaction_leaves_nothing_behind(store):
    with pytest.raises(ZeroDivisionError), store.transaction() as con:
        insert_rows(con, "scenes", [{"scene_hash": "x", "scene_text": "x"}])
        _ = 1 / 0
    assert store.rows("select count(*) as n from scenes") == [{"n": 0}]


def test_a_status_change_outside_the_table_is_refused_and_says_what_is_allowed(store):
    prompt_id = add_prompt(store)
    refused = pytest.raises(
        StatusError, match="'imported' and cannot become 'evaluated'.*archived, completed|completed"
    )
    with refused, store.transaction() as con:
        store.move_prompts(con, [prompt_id], "evaluated")
    assert store.rows("select status from prompts") == [{"status": "imported"}]


def test_a_referenced_prompt_can_still_be_updated(store):
    prompt_id = add_prompt(store, "completed")
    with store.transaction() as con:
        insert_rows(
            con,
            "generated_images",
            [{"id": content_id("i"), "prompt_id": prompt_id, "image_path": "x.png", "generation_metadata": {}}],
        )
    with store.transaction() as con:
        update_rows(con, "prompts", [{"id": prompt_id, "prompt_text": "a dog", "current_score": 0.5}])
        store.move_prompts(con, [prompt_id], "generating")
    row = store.rows("select prompt_text, current_score, status from prompts")[0]
    assert row == {"prompt_text": "a dog", "current_score": 0.5, "status": "generating"}


def test_json_and_uuid_columns_come_back_as_python_values(store):
    prompt_id = add_prompt(store)
    row = store.rows("select id, base_parameters from prompts")[0]
    assert row == {"id": prompt_id, "base_parameters": {}}


def test_a_held_file_is_waited_for_and_then_named_with_its_holder(store):
    hold = "import sys, time, duckdb; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(store.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        holder.stdout.readline()
        with pytest.raises(StoreError, match=f"process {holder.pid}"):
            fk.open_store(store.path, timeout_s=0.2).rows("select 1")
        holder.stdin.close()
    assert store.rows("select 1 as one") == [{"one": 1}]


def test_a_file_that_the_own_process_holds_is_told_so(store):
    with duckdb.connect(str(store.path)) as con:
        con.execute("select 1")
        with pytest.raises(StoreError, match="held by a connection that this process, your own notebook"):
            fk.open_store(store.path, timeout_s=0.2)
    assert store.rows("select 1 as one") == [{"one": 1}]


WRITE = """
import sys
import forgekit as fk
with fk.open_store(sys.argv[1], timeout_s=0.1).transaction() as con:
    con.execute("insert into scenes (scene_hash, scene_text) values ('1', 'x')")
"""


def others_can_write(store) -> bool:
    return (
        subprocess.run([sys.executable, "-c", WRITE, str(store.path)], capture_output=True, check=False).returncode == 0
    )


def test_a_store_that_is_held_still_stays_so_while_its_holder_reads_on(store):
    with store.held_still():
        assert store.rows("select 1 as one") == [{"one": 1}]
        assert fk.open_store(store.path).rows("select 1 as one") == [{"one": 1}]
        assert not others_can_write(store)
    assert others_can_write(store)


def test_a_store_is_written_again_after_a_block_that_broke(store):
    for broken in ("select * from nothing", "select error('broken')"):
        with pytest.raises(duckdb.Error), store.transaction() as con:
            con.execute(broken)
    assert add_prompt(store)
    assert store.rows("select count(*) as n from prompts") == [{"n": 1}]


def test_duckdb_may_reach_the_files_that_it_makes_of_a_database_and_no_others(store):
    reached = "select value from duckdb_settings() where name = 'allowed_paths'"
    with duckdb.connect(str(store.path), config={"enable_external_access": "false"}) as con:
        own = con.execute(reached).fetchone()[0]
    assert sorted(store.rows(reached)[0]["value"].strip("[]").split(", ")) == sorted(own.strip("[]").split(", "))
    assert store.rows("select current_setting('enable_external_access') as it") == [{"it": False}]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_works_on_the_store_and_ends_well(store):
    code = "import os, sys, forgekit as fk; store = fk.open_store(sys.argv[1]); store.rows('select 1'); child = os.fork()\n"
    code += "store.rows('select 1'); sys.exit(0 if not child else os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))"
    assert subprocess.run([sys.executable, "-c", code, str(store.path)], timeout=60, check=False).returncode == 0


def test_a_path_with_lock_in_it_is_not_taken_for_a_held_file(tmp_path):
    path = tmp_path / "a lock (PID 1)" / "notes.duckdb"
    path.parent.mkdir()
    path.write_text("no database " * 500)
    with pytest.raises(StoreError, match="cannot be opened"):
        fk.open_store(path, timeout_s=60)


def test_a_misspelt_table_is_an_error_even_if_a_variable_has_its_name(store):
    promts = store.df("select 1 as id")
    assert len(promts) == 1
    with pytest.raises(duckdb.CatalogException):
        store.df("select * from promts")


def test_a_steady_mean_does_not_depend_on_the_order_of_its_rows(store):
    def mean(function, values):
        return store.rows(f"select {function}(x) as mean from (select unnest($v::double[]) as x)", v=values)[0]["mean"]

    up, down = [0.1, 0.2, 0.3], [0.3, 0.2, 0.1]
    assert mean("avg", up) != mean("avg", down)  # what it is for
    assert mean("steady_avg", up) == mean("steady_avg", down) == 0.2
    assert mean("steady_std", up) == mean("steady_std", down) == 0.1


def test_a_file_is_there_whole_or_not_at_all_and_a_second_name_takes_no_room(tmp_path):
    file, second = tmp_path / "folder" / "a.png", tmp_path / "second.png"
    write_whole(file, b"one")
    link_or_copy(file, second)
    assert second.samefile(file)
    write_whole(file, b"two")
    assert (file.read_bytes(), second.read_bytes()) == (b"two", b"one")
    assert list(file.parent.iterdir()) == [file]
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "gone.png", tmp_path / "third.png")


def test_the_store_shows_what_is_in_it(store):
    add_prompt(store)
    assert "1 prompts (1 imported)" in repr(store)
    assert "prompts: imported</td><td>1" in store._repr_html_()
