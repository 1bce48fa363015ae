"""A desktop for tests, as one program: an X server, a session bus, a window manager. It says where they are, and waits.

Started under the agent's own keeper, which ends all of it when the tests do: `python desk.py FOLDER`.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

SIZE = "1024x768x24"
PROGRAMS = (  # that every desktop has, so that not each test waits for one
    ["mousepad", "--disable-server"],
    ["xterm", "-T", "a terminal", "-geometry", "60x12+500+420", "-e", "cat"],
)


def main(folder: Path) -> None:
    """Bring it up, say its environment as a line of JSON, and wait for ever."""
    env = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(folder), "GTK_MODULES": "gail:atk-bridge"}
    env["GSETTINGS_BACKEND"] = "memory"
    for name in ("CONFIG", "CACHE", "DATA", "STATE"):
        env[f"XDG_{name}_HOME"] = str(folder / name.lower())
    env["XDG_RUNTIME_DIR"] = str(folder / "run")
    for each in ("run", "config", "cache", "data", "state"):
        (folder / each).mkdir(mode=0o700)
    with (folder / "log").open("wb") as log:
        env["DISPLAY"] = ":" + said(
            lambda fd: ["Xvfb", "-displayfd", fd, "-screen", "0", SIZE, "-nolisten", "tcp", "-noreset"], env, log
        )
        env["DBUS_SESSION_BUS_ADDRESS"] = said(
            lambda fd: [
                "dbus-daemon",
                "--session",
                "--nofork",
                "--nopidfile",
                f"--address=unix:path={folder}/bus",
                f"--print-address={fd}",
            ],
            env,
            log,
        )
        manager = subprocess.Popen(["openbox", "--sm-disable"], env=env, stdout=log, stderr=log)
    sys.stdout.write(json.dumps(env) + "\n")
    sys.stdout.flush()
    for argv in PROGRAMS:
        subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    manager.wait()


def said(argv, env, log) -> str:
    """Start the program and return the line that it says on the descriptor that it is given."""
    ours, theirs = os.pipe()
    subprocess.Popen(argv(str(theirs)), env=env, pass_fds=[theirs], stdout=log, stderr=log)
    os.close(theirs)
    with os.fdopen(ours) as line:
        return line.readline().strip()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
