"""What Galaxy may do on this device: the policy that its owner keeps beside the device's key, in `guard.toml`.

    allows(tool)             whether the tool is offered at all
    readable, writable       a Place, for `tools.beneath` to open
    program, check_shell     which programs run, and with which arguments
    check_origin, _address   where HTTP requests go
    check_timeout            how long a call may take
    check_programs, _folders whether anything is there of what is allowed

What is refused is ToolFailed with the code `denied`, and says which setting would allow it.
"""

import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from .addresses import Reach, reach_of
from .errors import ToolFailed
from .programs import given_code, strength

GUARD_TOML = """\
# What Galaxy may do on this device. What is not said here is as in the lines that are commented out.
# The agent reads this file when it starts.

# Tools that are offered, as patterns: "file.*", "http.request".
# tools = ["*"]

# Command lines for a shell, pipes and all. This allows every program with every argument.
# shell = false

[folders]
# Relative to the agent's work folder, or absolute, or "~/...". Links are followed and must end in one of them.
# The folder of this file and of the device's key is never open, unless a folder deeper in it is named here.
# They bind the file tools; a program that you allow below sees what your account sees.
# read = ["."]
# write = ["."]

# Programs that shell.run may start; without a table here, none. The name is a bare name, found on the PATH, or an
# absolute path. Each argument must match one of `arguments` as a whole, and none of `deny` anywhere.
# Programs that run what their arguments say (sh -c, python -c or -m, env, sudo, find -exec, ...) are refused when
# they do, and so are scripts in a folder that may be written, unless `inline_code = true`. Git, tar, make and their
# like, whose options run programs too, need the `arguments` that you mean. The lists know the usual programs, not all.
# `env` names the environment variables that a call may set.
#
# [programs.git]
# arguments = ["status", "log", "diff", "--stat", "-n[0-9]+"]
# deny = ["^--output"]
# inline_code = false
# env = ["LANG", "LC_*", "TZ", "TERM", "NO_COLOR", "COLUMNS"]

[http]
# Hosts as patterns. `private = true` opens this machine and private networks; a cloud's metadata stays closed.
# hosts = ["*"]
# ports = [80, 443]
# private = false

[limits]
# output_bytes: of a program, or of a response. file_bytes: of a file that is read or written.
# output_bytes = 67_108_864
# file_bytes = 268_435_456
# timeout_s = 600
"""


class Folders(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the file tools may look, and where they may write."""

    read: tuple[str, ...] = (".",)
    write: tuple[str, ...] = (".",)


class ProgramRule(Struct, frozen=True, forbid_unknown_fields=True):
    """How one program may be called."""

    arguments: tuple[str, ...] | None = None  # regular expressions for a whole argument; None: any argument
    deny: tuple[str, ...] = ()  # regular expressions, found anywhere in an argument
    inline_code: bool = False
    env: tuple[str, ...] = ("LANG", "LC_*", "TZ", "TERM", "NO_COLOR", "COLUMNS")


class Web(Struct, frozen=True, forbid_unknown_fields=True):
    """Where HTTP requests may go."""

    hosts: tuple[str, ...] = ("*",)
    ports: tuple[int, ...] = (80, 443)
    private: bool = False


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """How much one call may produce or take."""

    output_bytes: Annotated[int, Meta(gt=0)] = 64 << 20
    file_bytes: Annotated[int, Meta(gt=0)] = 256 << 20
    timeout_s: Annotated[float, Meta(gt=0)] = 600


class Policy(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands in `guard.toml`."""

    tools: tuple[str, ...] = ("*",)
    shell: bool = False
    folders: Folders = Folders()
    programs: dict[str, ProgramRule] = {}
    http: Web = Web()
    limits: Limits = Limits()


class BadPolicy(ValueError):
    """A `guard.toml` that cannot be followed, and why. The agent does not start with one."""


@dataclass(frozen=True, slots=True)
class Place:
    """A path that the policy allows, as one of its folders and the way down from there.

    `tools.beneath` opens it step by step and follows no link, so that a link put there since leads nowhere.
    """

    root: Path
    parts: tuple[str, ...]
    keep_out: Path | None  # the folder of the device's key

    @property
    def path(self) -> Path:
        return self.root.joinpath(*self.parts)

    def below(self, *parts: str) -> "Place":
        return replace(self, parts=(*self.parts, *parts))


@dataclass(frozen=True, slots=True)
class ProgramCall:
    """A program's name and arguments as asked for, where it runs, and which environment variables the call sets."""

    argv: tuple[str, ...]
    cwd: Path
    env_names: frozenset[str] = frozenset()


class Guard:
    """The policy, bound to one work folder. Its folders are resolved once, so that a link cannot move them later."""

    def __init__(self, policy: Policy, work_folder: Path, *, keep_out: Path | None = None) -> None:
        self.limits = policy.limits
        self.work_folder = Path(os.path.realpath(work_folder))
        # An entry such as "" or "." in the PATH would find programs in whatever folder the agent stands.
        self.program_path = os.pathsep.join(filter(os.path.isabs, os.get_exec_path()))
        self._policy = policy
        self._keep_out = Path(os.path.realpath(keep_out)) if keep_out else None
        self._readable = self._roots(policy.folders.read)
        self._writable = self._roots(policy.folders.write)

    @classmethod
    def default(cls, work_folder: Path) -> "Guard":
        """Return the guard of a device whose owner has decided nothing: its work folder, the web, no programs."""
        return cls(Policy(), work_folder)

    @classmethod
    def load(cls, path: Path, work_folder: Path) -> "Guard":
        """Return the guard of this `guard.toml`, whose own folder stays closed; raise BadPolicy, OSError."""
        try:
            policy = msgspec.toml.decode(path.read_bytes(), type=Policy)
            for name, rule in policy.programs.items():
                _check_rule(name, rule)
        except (msgspec.DecodeError, UnicodeDecodeError, BadPolicy) as exc:
            raise BadPolicy(f"{path}: {exc}") from exc
        return cls(policy, work_folder, keep_out=path.parent)

    def allows(self, tool: str) -> bool:
        return any(fnmatchcase(tool, pattern) for pattern in self._policy.tools)

    def readable(self, path: str) -> Place:
        """Return where the path leads, links followed; relative ones start in the work folder."""
        return self._place(self._resolved(path), self._readable, "read")

    def writable(self, path: str, *, follow: bool = True) -> Place:
        """Return where the path leads. Without `follow`, a link at its end means the link."""
        return self._place(self._resolved(path, follow=follow), self._writable, "write")

    def check_shell(self) -> None:
        if not self._policy.shell:
            raise denied("command lines for a shell are not allowed", "`shell = true`")

    def program(self, call: ProgramCall) -> Path:
        """Return the executable that the call may run; raise ToolFailed: denied, or program_not_found."""
        name = call.argv[0]
        if "/" in name and not os.path.isabs(name):
            raise ToolFailed("denied", f"{name}: a program is called by a bare name or an absolute path")
        setting, rule, executable = self._rule_for(name)
        if executable is None:
            raise ToolFailed("program_not_found", f"there is no program {name} on this device")
        for argument in call.argv[1:]:
            _check_argument(name, argument, rule, setting)
        for variable in sorted(call.env_names):
            if not any(fnmatchcase(variable, pattern) for pattern in rule.env):
                raise denied(f"setting {variable} for {name} is not allowed", f'"{variable}" in {setting}.env')
        if not rule.inline_code:
            reason = given_code(call.argv, executable, call.cwd, self._is_replaceable)
            if reason is not None:
                raise denied(reason, f"{setting}.inline_code = true")
            if rule.arguments is None and (why := strength(name, executable)):
                raise denied(why, f"expressions for those that are meant in {setting}.arguments")
        return executable

    def check_programs(self) -> None:
        """Raise ToolFailed if of the programs that may be run none is there."""
        names = ["/bin/sh"] if self._policy.shell else list(self._policy.programs)
        if names and not any(shutil.which(name, path=self.program_path) for name in names):
            raise ToolFailed("unavailable", f"none of the programs is there that guard.toml names: {', '.join(names)}")

    def check_folders(self, *, write: bool = False) -> None:
        """Raise ToolFailed if none of the folders can be reached."""
        roots = self._writable if write else self._readable
        if not any(os.access(root, os.X_OK | (os.W_OK if write else os.R_OK)) for root in roots):
            verb = "written" if write else "read"
            raise ToolFailed("unavailable", f"none of these can be {verb}: {', '.join(map(str, roots)) or 'no folder'}")

    def check_origin(self, host: str, port: int) -> None:
        """Raise ToolFailed unless requests may name this host and port."""
        if not any(fnmatchcase(host, pattern.casefold()) for pattern in self._policy.http.hosts):
            raise denied(f"the host {host} is not allowed", f'"{host}" in http.hosts')
        if port not in self._policy.http.ports:
            raise denied(f"port {port} of {host} is not allowed", f"{port} in http.ports")

    def check_address(self, host: str, address: str) -> None:
        """Raise ToolFailed unless connections may go to this address, which the host's name led to."""
        reach = reach_of(address)
        if reach is Reach.NEVER:
            raise ToolFailed("denied", f"{host} is at {address}, which is no address of a host; no setting allows it")
        if reach is Reach.PRIVATE and not self._policy.http.private:
            raise denied(f"{host} is at {address}, a private address", "http.private = true")

    def check_timeout(self, timeout_s: float) -> None:
        allowed = self.limits.timeout_s
        if timeout_s > allowed:
            raise denied(f"timeout_s = {timeout_s:g} is more than {allowed:g}", "a larger limits.timeout_s")

    def _roots(self, folders: Iterable[str]) -> list[Path]:
        """Return the folders, the deepest first: it is the one that a path inside belongs to."""
        roots = {Path(os.path.realpath(self.work_folder / os.path.expanduser(folder))) for folder in folders}
        return sorted(roots, key=lambda root: -len(root.parts))

    def _resolved(self, path: str, *, follow: bool = True) -> Path:
        whole = self.work_folder / path
        try:
            if follow or whole.name in {"", ".."}:
                return Path(os.path.realpath(whole))
            return Path(os.path.realpath(whole.parent)) / whole.name
        except OSError as exc:  # what was a link is none any more, or is gone
            raise ToolFailed("denied", f"{whole} changes while it is being judged") from exc

    def _place(self, path: Path, roots: list[Path], verb: str) -> Place:
        inside = [root for root in roots if path.is_relative_to(root)]
        secret = self._keep_out
        for root in inside:
            opened_up = secret is not None and root != secret and root.is_relative_to(secret)
            if secret is None or opened_up or not path.is_relative_to(secret):
                return Place(root, path.relative_to(root).parts, None if opened_up else secret)
        if inside:
            raise ToolFailed("denied", f"{path} is in the folder of the device's key; no setting allows it")
        raise denied(f"{path} is outside the folders that {verb} may reach", f"its folder in folders.{verb}")

    def _is_replaceable(self, path: Path) -> bool:
        return any(Path(os.path.realpath(path)).is_relative_to(root) for root in self._writable)

    def _rule_for(self, name: str) -> tuple[str, ProgramRule, Path | None]:
        """Return the setting, the rule and the executable; a rule for a bare name is for what the PATH finds by it."""
        rules = self._policy.programs
        plain = os.path.basename(name)
        found = shutil.which(plain, path=self.program_path)
        if os.path.isabs(name) and name != found:
            found, keys = name if os.path.isfile(name) else None, [name]
        else:
            keys = [plain, *([found] if found else [])]
        for key in keys:
            if key in rules:
                return f"programs.{_quoted(key)}", rules[key], Path(found) if found else None
        raise denied(f"the program {name} is not allowed", f"a table [programs.{_quoted(name)}]")


def denied(refused: str, setting: str) -> ToolFailed:
    """Return the error that says what was refused, and what its owner would write to allow it."""
    return ToolFailed("denied", f"{refused}; {setting} in guard.toml would allow it")


def _check_argument(name: str, argument: str, rule: ProgramRule, setting: str) -> None:
    if any(re.search(pattern, argument, re.S) for pattern in rule.deny):
        raise ToolFailed("denied", f"{setting}.deny in guard.toml refuses {name} the argument {argument[:200]!r}")
    if rule.arguments is not None and not any(re.fullmatch(each, argument, re.S) for each in rule.arguments):
        raise denied(f"{name} may not be given {argument[:200]!r}", f"an expression for it in {setting}.arguments")


def _check_rule(name: str, rule: ProgramRule) -> None:
    if "/" in name and not os.path.isabs(name):
        raise BadPolicy(f"programs.{_quoted(name)}: a program is named by a bare name or an absolute path")
    for pattern in (*(rule.arguments or ()), *rule.deny):
        try:
            re.compile(pattern)
        except re.error as exc:
            raise BadPolicy(f"programs.{_quoted(name)}: {pattern!r} is no regular expression: {exc}") from exc


def _quoted(key: str) -> str:
    return key if re.fullmatch(r"[\w-]+", key, re.ASCII) else f'"{key}"'
