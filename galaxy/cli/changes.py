"""What an edit changes, or would change, and what that would mean for the time that is left: for people."""

import json
from collections.abc import Iterator
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from .show import listing

Picture = dict[str, Any]

VALUE_CHARS_MAX = 60
PATH_STARS_MAX = 12  # of a critical path; of a longer one, the two ends are shown


def changes_table(found: Picture) -> Table:
    """Return what is new, gone, otherwise or done, a line each."""
    return listing(("", "", "field", "before", "after"), _changes(found))


def foreseen(out: Picture) -> Iterator[RenderableType]:
    """Yield what an edit would change, the forecast without it and with it, and where new stars could go."""
    yield f"{out['id']} would be at revision {out['revision']}, from {out['base']}. Nothing is changed."
    yield changes_table(out["diff"]) if _changes(out["diff"]) else "It would change nothing."
    before, after = out["before"], out["after"]
    yield listing(("", "before", "after"), [(name, say(before), say(after)) for name, say in FORECAST])
    for star, place in out["placement"].items():
        able = ", ".join(place["candidates"]) or "no device now"
        yield f"{star} could go to {able}"
        yield from (f"     not {device}: {reason}" for device, reason in place["refused"].items())


def _path(forecast: Picture) -> str:
    path, half = forecast["critical_path"], PATH_STARS_MAX // 2
    if len(path) > PATH_STARS_MAX:
        path = [*path[:half], f"({len(path) - 2 * half} more)", *path[-half:]]
    return " > ".join(path)


def _seconds(value: float | None) -> str:
    return "never, as things are" if value is None else f"{value:.1f} s"


FORECAST = (
    ("stars, not ended", lambda one: f"{one['stars']}, {one['unfinished']}"),
    ("critical path", _path),
    ("  takes", lambda one: _seconds(one["critical_path_s"])),
    ("all work", lambda one: f"{_seconds(one['work_s'])} on {one['slots']} slots"),
    ("forecast", lambda one: _seconds(one["remaining_s"])),
)


def _changes(found: Picture) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for what, changes in (("star", found["stars"]), ("line", found["lines"])):
        rows += [("+", f"{what} {_named(one)}", "", "", "") for one in changes["added"]]
        rows += [("-", f"{what} {_named(one)}", "", "", "") for one in changes["removed"]]
        for one in changes["changed"]:
            for field, values in one["fields"].items():
                rows.append(("~", f"{what} {_named(one)}", field, _short(values["before"]), _short(values["after"])))
    for done in ("retried", "skipped", "superseded"):
        for one in found[done]:
            by = f" by {one['by']}" if "by" in one else ""
            rows.append(("!", f"star {one['id']} {done}{by}", "", "", one["reason"]))
    return rows


def _named(one: Picture) -> str:
    if "id" in one:
        return f"{one['id']} ({one['tool']})" if "tool" in one else str(one["id"])
    return f"{one['source']} -> {one['target']}" + (f" on {one['when']}" if "when" in one else "")


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE_CHARS_MAX else text[: VALUE_CHARS_MAX - 1] + "…"
