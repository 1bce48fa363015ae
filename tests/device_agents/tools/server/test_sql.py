"""Databases: SQLite, and a real PostgreSQL."""

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from device_agents.tools.server.settings import DatabaseSettings
from device_agents.tools.server.sql import SqlExecute, SqlQuery

from ....servers import PostgresServer
from ..bench import Bench, failing
from .stands import FOR_EVER, a_database

Ask = Callable[..., Any]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, bench: Bench) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{a_database(bench.work / 'shop.db')}"
    postgres: PostgresServer = request.getfixturevalue("postgres")
    asyncio.run(filled(f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres"))
    return f"postgresql://shopkeeper@127.0.0.1:{postgres.port}/postgres"


async def filled(url: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(
        "DROP TABLE IF EXISTS parts; CREATE TABLE parts (name text, price double precision, made date); "
        "INSERT INTO parts VALUES ('bolt', 0.5, '2026-01-02'), ('nut', 0.25, NULL); "
        "DO $$ BEGIN CREATE ROLE shopkeeper LOGIN; EXCEPTION WHEN duplicate_object THEN NULL; END $$; "
        "ALTER TABLE parts OWNER TO shopkeeper"
    )
    await connection.close()


@pytest.fixture
def ask(bench: Bench, url: str) -> Ask:
    return lambda sql, **more: bench.call(SqlQuery({"shop": DatabaseSettings(url)}), database="shop", sql=sql, **more)


@pytest.fixture
def change(bench: Bench, url: str) -> Ask:
    tool = SqlExecute({"shop": DatabaseSettings(url, write=True)})
    return lambda sql, **more: bench.call(tool, database="shop", sql=sql, **more)


def test_a_question_gives_columns_and_rows_as_json_knows_them(ask: Ask):
    told = ask("SELECT name, price, made FROM parts ORDER BY name")

    assert told.columns == ["name", "price", "made"]
    assert told.rows == [["bolt", 0.5, "2026-01-02"], ["nut", 0.25, None]]


def test_parameters_are_never_read_as_sql(ask: Ask, url: str):
    mark = "$1" if url.startswith("postgres") else "?"

    told = ask("SELECT count(*) FROM parts WHERE name = MARK".replace("MARK", mark), parameters=["bolt' OR '1'='1"])

    assert told.rows == [[0]]


@pytest.mark.parametrize("sql", ["DELETE FROM parts", "DROP TABLE parts", "INSERT INTO parts (name) VALUES ('x')"])
def test_what_changes_something_is_no_question(ask: Ask, sql: str):
    with pytest.raises(Exception, match=r"read-?only|readonly|gives no rows"):
        ask(sql)

    assert ask("SELECT count(*) FROM parts").rows == [[2]]


def test_a_change_that_returns_rows_is_no_question_either(ask: Ask):
    with failing("database_error"):
        ask("DELETE FROM parts RETURNING name")

    assert ask("SELECT count(*) FROM parts").rows == [[2]]


@pytest.mark.parametrize("sql", ["COMMIT", "ROLLBACK", "BEGIN", "SELECT 1; DELETE FROM parts"])
def test_nobody_gets_out_of_the_transaction(change: Ask, ask: Ask, sql: str):
    with pytest.raises(Exception, match=r"."):
        ask(sql)

    assert ask("SELECT count(*) FROM parts").rows == [[2]]


def test_a_change_tells_how_many_rows_it_touched_and_stays(change: Ask, ask: Ask):
    told = change("UPDATE parts SET price = 1")

    assert (told.count, told.rows) == (2, [])
    assert ask("SELECT DISTINCT price FROM parts").rows == [[1.0]]
    assert change("DELETE FROM parts WHERE name = 'nut' RETURNING name").rows == [["nut"]]
    assert ask("SELECT name FROM parts").rows == [["bolt"]]


def test_a_change_that_fails_leaves_nothing(change: Ask, ask: Ask):
    with failing("database_error"):
        change("INSERT INTO parts (name, nothing) VALUES ('x', 1)")

    assert ask("SELECT count(*) FROM parts").rows == [[2]]


def test_a_change_needs_the_owner_to_allow_it(bench: Bench, url: str):
    with failing("denied", "server.databases.shop.write"):
        bench.call(SqlExecute({"shop": DatabaseSettings(url)}), database="shop", sql="DELETE FROM parts")


def test_more_rows_than_a_result_holds_are_whole_in_an_artifact(ask: Ask, bench: Bench):
    numbers = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 2000) SELECT x FROM n"

    told = ask(numbers, limit=5)

    assert (told.rows, told.count) == ([[1], [2], [3], [4], [5]], 2_000)
    assert len(bench.shelf.content(told.all_rows).split()) == 2_001


def test_a_statement_without_end_is_ended(ask: Ask):
    with failing("timeout", retryable=True):
        ask(FOR_EVER, timeout_s=0.3)


def test_copy_to_a_program_is_no_question(bench: Bench, postgres: PostgresServer):
    url = f"postgresql://postgres@127.0.0.1:{postgres.port}/postgres"
    tool = SqlQuery({"shop": DatabaseSettings(url, superuser=True)})

    with failing("bad_query", "gives no rows"):
        bench.call(tool, database="shop", sql=f"COPY (SELECT 1) TO PROGRAM 'touch {bench.outside}/x'")
    assert list(bench.outside.iterdir()) == []


def test_a_database_that_cannot_be_reached_does_not_tell_its_password(bench: Bench):
    tool = SqlQuery({"shop": DatabaseSettings("postgresql://ada:geheim@127.0.0.1:1/shop")})

    with pytest.raises(Exception, match=r"cannot be reached") as caught:
        bench.call(tool, database="shop", sql="SELECT 1")
    assert "geheim" not in str(caught.value)


def test_other_files_are_out_of_reach(bench: Bench):
    tool = SqlExecute({"shop": DatabaseSettings(f"sqlite:///{a_database(bench.work / 'shop.db')}", write=True)})

    for sql in (
        f"ATTACH '{bench.outside}/x.db' AS x",
        f"VACUUM INTO '{bench.outside}/x.db'",
        "PRAGMA writable_schema=1",
    ):
        with pytest.raises(Exception, match=r"authorized|VACUUM"):
            bench.call(tool, database="shop", sql=sql)
    assert list(bench.outside.iterdir()) == []
