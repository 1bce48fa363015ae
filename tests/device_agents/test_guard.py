"""What the policy allows and refuses, and how it says so."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from device_agents.guard import GUARD_TOML, BadPolicy, Folders, Guard, Limits, Policy, ProgramCall, ProgramRule, Web

from .tools.bench import failing


def guard_in(folder: Path, policy: Policy | None = None) -> Guard:
    (folder / "work").mkdir()
    return Guard(policy or Policy(), folder / "work")


def loaded(folder: Path, text: str) -> Guard:
    (folder / "key").mkdir()
    (folder / "key" / "guard.toml").write_text(text)
    (folder / "work").mkdir()
    return Guard.load(folder / "key" / "guard.toml", folder / "work")


def with_programs(folder: Path, **rules: ProgramRule) -> Guard:
    return guard_in(folder, Policy(programs=rules))


def run(guard: Guard, *argv: str, env: tuple[str, ...] = ()) -> Path:
    return guard.program(ProgramCall(argv, guard.work_folder, frozenset(env)))


# The file.


def test_the_text_that_is_written_for_the_owner_says_what_an_empty_one_means(tmp_path: Path):
    uncommented = [
        line.removeprefix("# ") if " = " in line and not line.startswith("# [") else line
        for line in GUARD_TOML.splitlines()
        if not line.startswith("#") or line.startswith(tuple(f"# {key} = " for key in KEYS))
    ]
    (tmp_path / "commented").mkdir()
    (tmp_path / "whole").mkdir()

    commented = loaded(tmp_path / "commented", GUARD_TOML)
    whole = loaded(tmp_path / "whole", "\n".join(uncommented))

    assert commented.limits == whole.limits == Limits()
    assert commented._policy == whole._policy == Policy()


KEYS = ["tools", "shell", "read", "write", "hosts", "ports", "private", "output_bytes", "file_bytes", "timeout_s"]


def test_the_example_of_a_program_in_that_text_is_a_rule(tmp_path: Path):
    example = GUARD_TOML[GUARD_TOML.index("# [programs.git]") : GUARD_TOML.index("[http]")]

    guard = loaded(tmp_path, example.replace("# ", ""))

    assert guard._policy.programs["git"].env == ProgramRule().env
    assert guard._policy.programs["git"].deny == ("^--output",)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("colour = 1", "colour"),
        ("[http]\nprivat = true", "privat"),
        ("[programs.git]\ninline = true", "inline"),
        ("[limits]\ntimeout_s = 0", "timeout_s"),
        ("shell = 'yes'", "shell"),
        ("[programs.git]\narguments = ['(']", "programs.git"),
        ("[programs.'./git']", "./git"),
        ("tools = [", "guard.toml"),
    ],
)
def test_a_policy_that_cannot_be_followed_is_refused_by_name(tmp_path: Path, text: str, word: str):
    with pytest.raises(BadPolicy, match=word) as caught:
        loaded(tmp_path, text)

    assert "guard.toml" in str(caught.value)


# Tools and limits.


def test_tools_are_allowed_by_pattern(tmp_path: Path):
    guard = guard_in(tmp_path, Policy(tools=("file.*", "system.echo")))

    assert [guard.allows(name) for name in ("file.read", "system.echo", "shell.run")] == [True, True, False]


def test_a_call_may_not_take_longer_than_the_policy_says(tmp_path: Path):
    guard = guard_in(tmp_path, Policy(limits=Limits(timeout_s=60)))

    guard.check_timeout(60)
    with failing("denied", "61", "limits.timeout_s"):
        guard.check_timeout(61)


# Paths.


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "a/../../secret", "link/secret", "/", ".."])
def test_a_path_that_leads_out_of_its_folders_is_refused(tmp_path: Path, path: str):
    guard = guard_in(tmp_path)
    (tmp_path / "work" / "link").symlink_to(tmp_path)

    with failing("denied", "folders.read"):
        guard.readable(path)
    with failing("denied", "folders.write"):
        guard.writable(path)


def test_a_link_that_stays_inside_is_followed(tmp_path: Path):
    guard = guard_in(tmp_path)
    (tmp_path / "work" / "real").mkdir()
    (tmp_path / "work" / "link").symlink_to("real")

    assert guard.readable("link/file").parts == ("real", "file")
    assert guard.writable("link", follow=False).parts == ("link",)


def test_links_that_go_round_in_a_circle_are_no_crash(tmp_path: Path):
    guard = guard_in(tmp_path)
    (tmp_path / "work" / "one").symlink_to("two")
    (tmp_path / "work" / "two").symlink_to("one")

    assert guard.readable("one").path.parent == guard.work_folder


def test_reading_and_writing_have_folders_of_their_own(tmp_path: Path):
    (tmp_path / "library").mkdir()
    guard = guard_in(tmp_path, Policy(folders=Folders(read=(str(tmp_path / "library"),), write=("out",))))

    assert guard.readable(str(tmp_path / "library" / "book")).parts == ("book",)
    assert guard.writable("out/file").parts == ("file",)
    with failing("denied", "folders.write"):
        guard.writable(str(tmp_path / "library" / "book"))
    with failing("denied", "folders.read"):
        guard.readable("out/file")


def test_the_folder_of_the_key_is_closed_even_where_a_folder_around_it_is_open(tmp_path: Path):
    guard = loaded(tmp_path, f"[folders]\nread = ['{tmp_path}']\nwrite = ['{tmp_path}']")

    assert guard.readable(str(tmp_path / "other")).parts == ("other",)
    with failing("denied", "key", "no setting"):
        guard.readable(str(tmp_path / "key" / "guard.toml"))
    with failing("denied", "key", "no setting"):
        guard.writable(str(tmp_path / "work" / ".." / "key" / "guard.toml"))


def test_a_work_folder_below_the_key_is_open(tmp_path: Path):
    (tmp_path / "guard.toml").write_text("")
    (tmp_path / "work").mkdir()
    guard = Guard.load(tmp_path / "guard.toml", tmp_path / "work")

    assert guard.readable("file").parts == ("file",)


# Programs.


def test_a_program_that_is_not_named_is_refused(tmp_path: Path):
    with failing("denied", "ls", "[programs.ls]"):
        run(Guard.default(tmp_path), "ls")


def test_a_program_is_found_by_its_name_and_by_its_path(tmp_path: Path):
    guard = with_programs(tmp_path, ls=ProgramRule())
    ls = shutil.which("ls")
    assert ls is not None

    assert run(guard, "ls", "-l") == run(guard, ls, "-l") == Path(ls)


def test_a_rule_for_a_name_is_not_one_for_a_namesake_elsewhere(tmp_path: Path):
    guard = with_programs(tmp_path, ls=ProgramRule())
    namesake = tmp_path / "ls"
    shutil.copy("/bin/ls", namesake)

    with failing("denied", str(namesake)):
        run(guard, str(namesake))
    with failing("denied", "bare name"):
        run(guard, "./ls")


def test_an_allowed_program_that_is_not_there_is_not_found(tmp_path: Path):
    with failing("program_not_found", "frobnicate"):
        run(with_programs(tmp_path, frobnicate=ProgramRule()), "frobnicate")


def test_each_argument_has_to_match_an_expression_as_a_whole(tmp_path: Path):
    guard = with_programs(tmp_path, ls=ProgramRule(arguments=("-l", "[a-z]+"), deny=("secret",)))

    run(guard, "ls", "-l", "folder")
    with failing("denied", "-la", "programs.ls.arguments"):
        run(guard, "ls", "-la")
    with failing("denied", "a\\nb", "programs.ls.arguments"):
        run(guard, "ls", "a\nb")
    with failing("denied", "mysecrets", "programs.ls.deny"):
        run(guard, "ls", "mysecrets")


def test_a_call_sets_only_the_variables_that_the_rule_names(tmp_path: Path):
    guard = with_programs(tmp_path, ls=ProgramRule(env=("LC_*",)))

    run(guard, "ls", env=("LC_ALL",))
    with failing("denied", "LD_PRELOAD", "programs.ls.env"):
        run(guard, "ls", env=("LD_PRELOAD",))


@pytest.mark.parametrize(
    "argv",
    [
        ("python3", "-c", "pass"),
        ("python3", "-Ic", "pass"),
        ("python3", "-m", "http.server"),
        ("python3", "-"),
        ("python3",),
        ("sh", "-c", "id"),
        ("sh", "-ec", "id"),
        ("sh", "--version", "-c"),
        ("sh", "no-such-script"),
        ("sh", "written.sh"),
        ("env", "id"),
        ("xargs", "id"),
        ("awk", "BEGIN { system(1) }"),
        ("find", ".", "-exec", "id", ";"),
        ("find", ".", "-name", "x", "-execdir", "id", ";"),
        ("sed", "1e id"),
        ("timeout", "1", "id"),
    ],
)
def test_code_in_the_call_itself_is_refused_unless_the_rule_says_otherwise(tmp_path: Path, argv: tuple[str, ...]):
    strict = with_programs(tmp_path, **{argv[0]: ProgramRule()})
    (tmp_path / "work" / "written.sh").write_text("id")

    with failing("denied", f"programs.{argv[0]}.inline_code = true"):
        run(strict, *argv)
    run(Guard(Policy(programs={argv[0]: ProgramRule(inline_code=True)}), strict.work_folder), *argv)


def test_a_link_to_an_interpreter_is_an_interpreter(tmp_path: Path):
    (tmp_path / "calculator").symlink_to(os.path.realpath(sys.executable))
    calculator = str(tmp_path / "calculator")

    with failing("denied", "inline_code"):
        run(with_programs(tmp_path, **{calculator: ProgramRule()}), calculator, "-c", "pass")


def test_the_owners_script_and_harmless_calls_of_such_programs_run(tmp_path: Path):
    (tmp_path / "owned.sh").write_text("id")
    rule = ProgramRule()
    guard = with_programs(tmp_path, sh=rule, find=rule, sed=rule, python3=rule)

    run(guard, "sh", str(tmp_path / "owned.sh"), "-c")
    run(guard, "find", ".", "-name", "x")
    run(guard, "sed", "--sandbox", "s/a/b/")
    run(guard, "python3", "--version")


def test_a_program_that_a_call_could_have_written_is_refused(tmp_path: Path):
    guard = with_programs(tmp_path, **{str(tmp_path / "work" / "tool"): ProgramRule()})
    shutil.copy("/bin/ls", tmp_path / "work" / "tool")

    with failing("denied", "may be written", "inline_code"):
        run(guard, str(tmp_path / "work" / "tool"))


def test_command_lines_need_the_owners_word(tmp_path: Path):
    with failing("denied", "shell = true"):
        guard_in(tmp_path).check_shell()
    Guard(Policy(shell=True), tmp_path / "work").check_shell()  # noqa: S604  # a policy, and no call


# The web.


def test_hosts_and_ports_are_those_of_the_policy(tmp_path: Path):
    guard = guard_in(tmp_path, Policy(http=Web(hosts=("*.Example.org",), ports=(443,))))

    guard.check_origin("api.example.org", 443)
    with failing("denied", "example.com", "http.hosts"):
        guard.check_origin("api.example.com", 443)
    with failing("denied", "8080", "http.ports"):
        guard.check_origin("api.example.org", 8080)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"])
def test_public_addresses_are_open(tmp_path: Path, address: str):
    guard_in(tmp_path).check_address("host", address)


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "100.64.0.1", "::1", "fd12::1"),
        *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a00:1"),
    ],
)
def test_private_addresses_are_the_owners_to_open(tmp_path: Path, address: str):
    guard = guard_in(tmp_path)

    with failing("denied", address, "http.private"):
        guard.check_address("host", address)
    Guard(Policy(http=Web(private=True)), guard.work_folder).check_address("host", address)


@pytest.mark.parametrize(
    "address",
    [
        *("0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1"),
        *("::", "fe80::1", "fe80::1%lo", "ff02::1", "2001:db8::1", "2002:7f00:1::", "2001:0:1::1", "fec0::1"),
        *("64:ff9b:1::7f00:1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fd00:ec2::254", "100.100.100.200"),
        *("0.1.2.3", "::7f00:1"),
    ],
)
def test_addresses_of_no_host_are_closed_for_good(tmp_path: Path, address: str):
    with failing("denied", "no setting"):
        guard_in(tmp_path, Policy(http=Web(private=True))).check_address("host", address)
