"""The commands about the history of a constellation: what changed, take it back, go on from it, ask another planner."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from .changes import changes_table
from .client import connected, path_of
from .commands import DEFAULT_URL, AsJson, Id, Reason, Token, Url, print_json
from .show import clock, console, listing, waiting

Answers = dict[str, Any]

BACKTEST_WITHIN_S = 3_600.0  # a model may take two minutes for one question


class AskWhen(StrEnum):
    """Which ends of stars are questions."""

    ON_FAILURE = "on_failure"
    ALWAYS = "always"
    NEVER = "never"


def revisions(
    constellation: Id,
    after: Annotated[int, typer.Option(min=0, help="The last revision of the page before")] = 0,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """List who changed a constellation, when, why, and what that has cost."""
    with connected(url, token) as client:
        page = client.get(path_of("constellations", constellation, "revisions"), after=after)
    if as_json:
        print_json(page)
        return
    rows = [
        (
            one["revision"],
            clock(one["at"]),
            one["by"],
            _counted(one["operations"]) + (f" (made against {one['base']})" if one["rebased"] else ""),
            _facts(one["facts"]),
            one["reason"],
            _cost(one["cost"]),
        )
        for one in page["items"]
    ]
    console().print(listing(("", "at", "by", "operations", "asked about", "reason", "cost"), rows))
    if page["next"]:
        console().print(f"more: galaxy revisions {constellation} --after {page['next']}", soft_wrap=True)


def diff(
    constellation: Id,
    revision: Annotated[int, typer.Argument(min=1, help="The revision; it is compared with the one before it")],
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Show what a revision changed."""
    with connected(url, token) as client:
        found = client.get(path_of("constellations", constellation, "revisions", str(revision), "diff"))
    print_json(found) if as_json else console().print(changes_table(found))


def undo(
    constellation: Id,
    revision: Annotated[int | None, typer.Option(min=1, help="Which one; default: the last")] = None,
    reason: Reason = "",
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Take a revision back, if what it changed has not changed since."""
    body = {"revision": revision, "reason": reason}
    with connected(url, token) as client:
        out = client.post(path_of("constellations", constellation, verb="undo"), body)
    text = f"{constellation} is at revision {out['revision']}: {out['undone']} is taken back"
    print_json(out) if as_json else console().print(text)


def fork(
    constellation: Id,
    revision: Annotated[int | None, typer.Option(min=1, help="The graph as of this one; default: as it is")] = None,
    star: Annotated[str | None, typer.Option(help="This star, and all behind it, is done anew")] = None,
    name: Annotated[str | None, typer.Option(help="The other one's name; default: the same")] = None,
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Go on in another constellation; what need not be done anew keeps its result."""
    body = {"revision": revision, "star": star, "name": name}
    with connected(url, token) as client:
        out = client.post(path_of("constellations", constellation, verb="fork"), body)
    kept = f"{out['kept']} of {out['stars']} stars keep their results"
    text = f"{out['id']} goes on from {out['origin']}: {kept}. Next: galaxy watch {out['id']}"
    print_json(out) if as_json else console().print(text, soft_wrap=True)


def backtest(
    constellation: Id,
    planner: Annotated[str, typer.Option(help="outline, repair, or llm where one is configured")],
    when: Annotated[AskWhen | None, typer.Option(help="Which ends of stars would be questions")] = None,
    within_s: Annotated[float, typer.Option(min=1, help="How long to wait; a model is asked each question anew")] = (
        BACKTEST_WITHIN_S
    ),
    as_json: AsJson = False,
    url: Url = DEFAULT_URL,
    token: Token = "",
) -> None:
    """Put the recorded questions to another planner, and compare the answers. Nothing is changed."""
    body = {"planner": planner, "when": when}
    path = path_of("constellations", constellation, verb="backtest")
    what = f"{planner} is asked each recorded question of {constellation}"
    with connected(url, token) as client, waiting(console(stderr=True), what):
        found = client.post(path, body, within_s=within_s)
    if as_json:
        print_json(found)
        return
    out = console()
    headings = ("", "asked about", "recorded", "proposed", "same", "accepted", "held", "")
    out.print(listing(headings, map(_compared, found["questions"])))
    for fact in found["additional"]:
        out.print(f"also asked, with {found['when']}: {_facts([fact])} at {clock(fact['at'])}")
    out.print(_totals(found["totals"], found["when"]), soft_wrap=True)
    out.print(found["note"], soft_wrap=True)


def _compared(one: Answers) -> tuple[Any, ...]:
    recorded, proposed = one["recorded"], one["proposed"]
    accepted = {True: "yes", False: f"no: {proposed['refusal']}", None: ""}[proposed["accepted"]]
    return (
        one["number"],
        _facts(one["facts"]),
        f"{recorded['answer']} by {recorded['by'] or 'nobody'}",
        f"{proposed['answer']} {_cost(proposed['cost'])}".strip(),
        "yes" if one["same"] else _difference(one["difference"]),
        accepted,
        f"{one['cut']['held_s']:.1f} s",
        "" if one["would_be_asked"] else "not asked",
    )


def _difference(found: Answers) -> str:
    gone = [f"-{operation['op']}" for operation in found["only_recorded"]]
    return " ".join(["no", *gone, *(f"+{operation['op']}" for operation in found["only_proposed"])])


def _totals(totals: Answers, when: str) -> str:
    return (
        f"{totals['questions']} questions, {totals['same']} answered the same, {totals['accepted']} acceptable. "
        f"With {when}: {totals['not_asked']} not asked, {totals['additional']} more. "
        f"Cuts were held for {totals['held_s']:.1f} s, {totals['held_s_not_asked']:.1f} s of it for those not asked."
    )


def _counted(operations: dict[str, int]) -> str:
    return ", ".join(f"{kind} {count}" if count > 1 else kind for kind, count in operations.items())


def _facts(facts: list[Answers]) -> str:
    return ", ".join(f"{fact['star'] or ''} {fact['kind']}".strip() for fact in facts)


def _cost(cost: Answers | None) -> str:
    if not cost or not cost["calls"]:
        return ""
    money = f", {cost['money']:.4f}" if cost["money"] else ""
    return f"{cost['tokens_in'] + cost['tokens_out']} tokens{money}, {cost['seconds']:.1f} s"
