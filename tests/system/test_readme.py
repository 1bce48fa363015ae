"""What the README shows for use, run as a person would: the real programs, one after another."""

import os
import re
import subprocess
import sys
from pathlib import Path

from galaxy.cli.local import local_galaxy
from tests.test_docs import README

WITHIN_S = 30.0


def galaxy(url: str, token: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a person would, with the token in the environment."""
    return subprocess.run(
        [sys.executable, "-m", "galaxy.cli.__main__", *words],
        env={**os.environ, "GALAXY_URL": url, "GALAXY_TOKEN": token, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


def test_the_constellation_in_the_readme_runs_and_is_explained(tmp_path: Path):
    report = tmp_path / "report.yaml"
    [shown] = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    report.write_text(shown, "utf-8")
    with local_galaxy(tmp_path / "home") as home:
        home.add_agent("desk", "--label", "site=home")
        home.wait_for_agents()

        ran = galaxy(home.url, home.token, "run", str(report), "--watch")
        listed = galaxy(home.url, home.token, "list")
        [constellation] = re.findall(r"report-[0-9a-f]+", listed.stdout)
        note = galaxy(home.url, home.token, "get", constellation, "--star", "note")
        devices = galaxy(home.url, home.token, "devices")
        wrong = galaxy(home.url, "not the token", "list")
    gone = galaxy(home.url, home.token, "list")

    assert (ran.returncode, listed.returncode, note.returncode, devices.returncode) == (0, 0, 0, 0)
    assert "report: succeeded" in ran.stdout
    assert "note: succeeded (file.write)" in note.stdout
    assert "chosen of: desk 0/" in note.stdout
    assert "site=home" in devices.stdout
    assert (wrong.returncode, gone.returncode) == (3, 4)
