"""Tables and documents in files, and what asks them."""

import pytest

from device_agents.tools.server.data import DataQuery

from ..bench import Bench, failing
from .stands import FOR_EVER


def ask(bench: Bench, sql: str, **more: object):
    return bench.call(DataQuery(), tables={"t": "t.csv", **more.pop("tables", {})}, sql=sql, **more)  # type: ignore[dict-item]


@pytest.fixture(autouse=True)
def table(bench: Bench) -> None:
    (bench.work / "t.csv").write_text('id,city,count\n007,Köln,3\n008,Bonn,\n009,"a,b",5\n', "utf-8-sig")


def test_a_column_is_of_numbers_only_if_all_its_cells_are(bench: Bench):
    told = ask(bench, "SELECT id, city, count + 1 AS more FROM t ORDER BY id")

    assert told.columns == ["id", "city", "more"]
    assert told.rows == [["007", "Köln", 4], ["008", "Bonn", None], ["009", "a,b", 6]]
    assert (told.count, told.all_rows) == (3, None)


def test_tables_of_several_forms_are_joined(bench: Bench):
    (bench.work / "c.jsonl").write_text('{"city": "Bonn", "at": {"x": 1}}\n\n{"city": "Köln", "more": [1]}\n', "utf-8")
    (bench.work / "d.tsv").write_text("city\tbig\nBonn\t0\n", "utf-8")

    told = ask(
        bench,
        "SELECT t.id, c.at->>'x', d.big FROM t JOIN c USING (city) LEFT JOIN d USING (city) ORDER BY t.id",
        tables={"c": "c.jsonl", "d": "d.tsv"},
    )

    assert told.rows == [["007", None, None], ["008", 1, 0]]


def test_a_document_is_dug_into_with_json_functions(bench: Bench):
    (bench.work / "d.json").write_text(
        '{"rooms": [{"name": "hall", "temp": 19.5}, {"name": "attic", "temp": 31}]}', "utf-8"
    )

    told = ask(
        bench,
        "SELECT value->>'name' FROM d, json_each(d.document, '$.rooms') WHERE value->>'temp' > 20",
        tables={"d": "d.json"},
    )

    assert told.rows == [["attic"]]


def test_more_rows_than_a_result_holds_are_whole_in_an_artifact(bench: Bench):
    (bench.work / "n.csv").write_text("n\n" + "\n".join(map(str, range(3_000))), "utf-8")

    told = ask(bench, "SELECT n FROM n", tables={"n": "n.csv"}, limit=10)

    assert (told.count, len(told.rows)) == (3_000, 10)
    assert bench.shelf.content(told.all_rows).split() == [b"n", *(str(n).encode() for n in range(3_000))]


@pytest.mark.parametrize(
    "sql",
    [
        "ATTACH '/tmp/x.db' AS x",
        "INSERT INTO t VALUES (1, 2, 3)",
        "DROP TABLE t",
        "PRAGMA hard_heap_limit=1",
        "SELECT load_extension('x')",
        "VACUUM INTO '/tmp/x.db'",
        "SELECT 1; DROP TABLE t",
        "CREATE TEMP TABLE x AS SELECT 1",
        "nonsense",
        "",
        "--",
    ],
)
def test_what_is_no_plain_question_is_refused(bench: Bench, sql: str):
    with pytest.raises(Exception, match=r"authoriz|length|only execute one|syntax|SELECT"):
        ask(bench, sql)


def test_a_question_without_end_is_ended(bench: Bench):
    with failing("timeout"):
        ask(bench, FOR_EVER, timeout_s=0.2)


def test_a_cell_without_end_is_refused(bench: Bench):
    with failing("bad_query", "too big"):
        ask(bench, "SELECT zeroblob(1000000000)")


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("x.csv", b"a,b\n1\n", "bad_file"),
        ("x.csv", b"", "bad_file"),
        ("x.csv", b"\xff\xfe", "decode_error"),
        ("x.json", b"{", "bad_file"),
        ("x.csv", ",".join("abc"[n % 3] for n in range(501)).encode(), "bad_file"),
        ("gone.csv", None, "not_found"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(bench: Bench, name: str, content: bytes | None, code: str):
    if content is not None:
        (bench.work / name).write_bytes(content)

    with failing(code, name):
        ask(bench, "SELECT 1", tables={"x": name})


def test_names_that_are_there_twice_get_a_number(bench: Bench):
    (bench.work / "x.csv").write_text('a,A,a"b\n1,2,3\n', "utf-8")

    assert ask(bench, "SELECT * FROM x", tables={"x": "x.csv"}).columns == ["a", "A_2", 'a"b']
