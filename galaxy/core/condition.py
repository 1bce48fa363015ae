"""Conditions: CEL expressions over a star's result, judged with a bounded cost."""

import re
from typing import Any, NamedTuple

import cel
import msgspec
from msgspec import Raw

CONDITION_CHARS_MAX = 1_000
# CEL always ends, but comprehensions within comprehensions multiply, those that build a list copy it at each step
# (measured: `result.map(x, result)` over 1,400 items takes 80 s), and so does each mention of a member of `result`
# (`result.all(x, result.m == x)`). Chains of + copy what they have so far, and a pattern is compiled at each step.
# So many steps take about a third of a second.
STEPS_MAX = 5_000_000
TEXT_OF_A_STEP = 256  # characters
PATTERN_STEPS = 5_000  # to compile a pattern, for each of its classes
REPEATED_PATTERN_STEPS = 1_000_000  # one with `{`, or one that is not known before
QUOTED = re.compile(r"""["']|//""")  # what may hide a parenthesis
MATCHES = re.compile(r"\.\s*matches\s*\(\s*([rR]?[\"'])?")
COMPREHENSION = re.compile(r"\.\s*(all|exists|exists_one|map|filter|transformList|transformMap)\s*\(")
FUNCTIONS = frozenset(
    [
        "size",
        "contains",
        "startsWith",
        "endsWith",
        "matches",
        "string",
        "int",
        "uint",
        "double",
        "bytes",
        "bool",
        "duration",
        "timestamp",
        "type",
        "dyn",
        "min",
        "max",
        "getFullYear",
        "getMonth",
        "getDate",
        "getDayOfMonth",
        "getDayOfWeek",
        "getDayOfYear",
        "getHours",
        "getMinutes",
        "getSeconds",
        "getMilliseconds",
    ]
)
OPERATORS = frozenset({"_in_", "__not_strictly_false__"})  # by these names, or by names that are no identifiers
TESTING = frozenset({"all", "exists", "exists_one"})


class Judgement(NamedTuple):
    """Whether a condition holds. `error` is why it could not be told; then it counts as not met."""

    met: bool
    error: str = ""


def compiled(condition: str) -> cel.Program:
    """Return the program of a condition; raise ValueError saying what is wrong with it."""
    if len(condition) > CONDITION_CHARS_MAX:
        raise ValueError(f"a condition of {len(condition)} characters, at most {CONDITION_CHARS_MAX}")
    try:
        program = cel.compile(condition)
    except ValueError as exc:
        raise ValueError(f"not a CEL expression: {str(exc)[:200]}") from exc
    if unknown := set(program.variables()) - {"result"} - _bound_names(condition):
        raise ValueError(f"a condition knows only `result`, not {', '.join(sorted(unknown))}")
    if missing := {name for name in program.functions() if name.isidentifier()} - FUNCTIONS - OPERATORS:
        raise ValueError(f"there is no function {', '.join(sorted(missing))}; there are {', '.join(sorted(FUNCTIONS))}")
    return program


def judged(condition: str, result: Raw | None) -> Judgement:
    """Return whether the condition holds for a star's result."""
    if result is None:
        return Judgement(False, "there is no result to judge")
    try:
        document = msgspec.json.decode(result)
        if (steps := _steps(condition, document)) > STEPS_MAX:
            return Judgement(False, f"too costly: up to {steps:.0e} steps, at most {STEPS_MAX:.0e}")
        value = compiled(condition).execute({"result": document})
    except (ValueError, TypeError, RuntimeError, LookupError, ArithmeticError) as exc:
        return Judgement(False, f"{type(exc).__name__}: {str(exc)[:300]}")
    if not isinstance(value, bool):
        return Judgement(False, f"gave {type(value).__name__}, not true or false")
    return Judgement(value)


def _bound_names(condition: str) -> set[str]:
    """Return the names that comprehensions bind; the static analysis lists them among the variables."""
    return {name for match in COMPREHENSION.finditer(condition) for name in _first_words(condition[match.end() :])}


def _first_words(text: str) -> list[str]:
    names = re.match(r"\s*(\w+)\s*(?:,\s*(\w+)\s*)?,", text)
    return [name for name in names.groups() if name] if names else []


def _steps(condition: str, document: Any) -> int:
    """Return a bound on what judging a condition over this document costs."""
    nodes, largest, longest = _size(document)
    literal = 1 + len(condition) // 4  # a list literal has an item in two characters
    largest, longest = max(largest, literal), max(longest, len(condition))
    sums, patterns = condition.count("+"), _pattern_steps(condition, longest)
    macros = list(COMPREHENSION.finditer(condition))
    builds = any(macro[1] not in TESTING for macro in macros)
    bodies = [_body_after(condition, macro.end()) for macro in macros]

    def step(size: int) -> int:
        return 1 + patterns + sums * sums * (size + longest // TEXT_OF_A_STEP)

    steps = step(nodes) + condition.count("result") * nodes
    for start, _ in bodies:
        around = [body for body in bodies if body[0] <= start <= body[1]]
        anew = any("result" in condition[slice(*body)] for body in around)  # else each item is looked at by itself
        times = (2 * largest) ** len(around)
        if len(around) == 2 and not anew:
            times = min(times, 2 * nodes * literal * (1 + sums))
        size = nodes if anew or builds else nodes // largest
        steps += times * (step(size) + (largest * nodes if builds else size))
    return steps


def _size(document: Any) -> tuple[int, int, int]:
    """Return how many values a document has, the length of its largest list or object, and of its longest text."""
    nodes, largest, longest, pending = 0, 0, 0, [document]
    while pending:
        value = pending.pop()
        nodes += 1
        if isinstance(value, str):
            longest = max(longest, len(value))
        elif isinstance(value, dict | list):
            largest = max(largest, len(value))
            pending.extend(value.values() if isinstance(value, dict) else value)
    return nodes, largest, longest


def _pattern_steps(condition: str, longest: int) -> int:
    patterns = MATCHES.findall(condition)
    plain = all(patterns) and "{" not in condition
    compiling = PATTERN_STEPS * (1 + condition.count("\\") + condition.count("[")) if plain else REPEATED_PATTERN_STEPS
    return len(patterns) * (compiling + longest // TEXT_OF_A_STEP)


def _body_after(condition: str, start: int) -> tuple[int, int]:
    """Return from where to where the arguments of a macro go. Where that is in doubt, they go to the end."""
    if QUOTED.search(condition):
        return start, len(condition)
    depth = 1
    for place in range(start, len(condition)):
        depth += {"(": 1, ")": -1}.get(condition[place], 0)
        if not depth:
            return start, place
    return start, len(condition)
