"""Databases and tables: roles that may too much, cells and files that are meant to take memory or time."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import asyncpg
import pytest

from device_agents.tools.server.data import DataQuery
from device_agents.tools.server.settings import DatabaseSettings
from device_agents.tools.server.sql import SqlExecute, SqlQuery

from ....servers import PostgresServer
from ..bench import Bench, failing
from .stands import a_database

Ask = Callable[[str], Any]


@pytest.fixture
def ask(bench: Bench, postgres: PostgresServer) -> Ask:
    """Ask as somebody who is nobody special."""
    asyncio.run(with_a_role(postgres, "passer_by"))
    tool = SqlQuery({"shop": DatabaseSettings(f"postgresql://passer_by@127.0.0.1:{postgres.port}/postgres")})
    return lambda sql: bench.call(tool, database="shop", sql=sql)


async def with_a_role(postgres: PostgresServer, name: str, *roles: str) -> None:
    connection = await asyncpg.connect(postgres.url("postgres"))
    await connection.execute(f"DROP ROLE IF EXISTS {name}; CREATE ROLE {name} LOGIN")
    for role in roles:
        await connection.execute(f"GRANT {role} TO {name}")
    await connection.close()


@pytest.mark.parametrize("role", ["", "pg_read_server_files", "pg_execute_server_program", "postgres"])
def test_a_role_that_reaches_the_hosts_files_is_refused(bench: Bench, postgres: PostgresServer, role: str):
    if role:
        asyncio.run(with_a_role(postgres, "strong", role))
    url = f"postgresql://{'strong' if role else 'postgres'}@127.0.0.1:{postgres.port}/postgres"
    shop = {"shop": DatabaseSettings(url, write=True)}

    for tool in (SqlQuery(shop), SqlExecute(shop)):
        with failing("denied", "server.databases.shop.superuser", "agent.toml"):
            bench.call(tool, database="shop", sql="SELECT pg_read_file('/etc/passwd')")
    owners = SqlQuery({"shop": DatabaseSettings(url, superuser=True)})
    assert bench.call(owners, database="shop", sql="SELECT 1").rows == [[1]]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT pg_read_file('/etc/passwd')",
        "SELECT * FROM pg_ls_dir('/')",
        "SELECT lo_import('/etc/passwd')",
        "SELECT query_to_xml('SELECT pg_read_file(''/etc/passwd'')', true, false, '')",
        "SELECT set_config('session_authorization', 'postgres', false), pg_read_file('/etc/passwd')",
        "SELECT set_config('transaction_read_only', 'off', false), lo_create(0)",
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'postgres'",
    ],
)
def test_no_function_of_postgres_leads_out_of_a_question(ask: Ask, sql: str):
    with failing("database_error"):
        ask(sql)


def test_a_cell_or_a_row_without_end_is_refused(bench: Bench):
    tool = SqlQuery({"shop": DatabaseSettings(f"sqlite:///{a_database(bench.work / 'shop.db')}")})

    for sql in ("SELECT zeroblob(900000000)", "SELECT hex(zeroblob(10000000))", f"SELECT {', '.join(['1'] * 501)}"):
        with failing("database_error"):
            bench.call(tool, database="shop", sql=sql)


def test_a_table_that_takes_long_to_read_ends_with_its_time(bench: Bench):
    (bench.work / "wide.csv").write_text((",".join([""] * 400) + "\n") * 40_000, "utf-8")
    began = time.monotonic()

    with failing("timeout", "timeout_s"):
        bench.call(DataQuery(), tables={"t": "wide.csv"}, sql="SELECT 1", timeout_s=0.3)
    assert time.monotonic() - began < 3


def test_a_line_of_a_million_names_is_refused_before_the_rest_is_read(bench: Bench):
    (bench.work / "wide.csv").write_text("," * 1_000_000 + "\n1\n", "utf-8")

    with failing("bad_file", "columns"):
        bench.call(DataQuery(), tables={"t": "wide.csv"}, sql="SELECT 1")


def test_a_document_that_is_nested_beyond_reason_is_a_bad_file(bench: Bench):
    for name, text in {"t.json": "[" * 100_000, "t.jsonl": '{"a":' * 100_000}.items():
        (bench.work / name).write_text(text, "utf-8")
        with failing("bad_file"):
            bench.call(DataQuery(), tables={"t": name}, sql="SELECT 1")


def test_a_view_in_a_database_cannot_reach_out_either(bench: Bench):
    path = a_database(bench.work / "shop.db")
    with closing(sqlite3.connect(path)) as base:
        base.execute("CREATE VIEW trap AS SELECT load_extension('x.so') AS x")
    tool = SqlQuery({"shop": DatabaseSettings(f"sqlite:///{path}")})

    with failing("database_error"):
        bench.call(tool, database="shop", sql="SELECT * FROM trap")
