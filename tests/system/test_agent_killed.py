"""kill -9 of an agent in the middle of calls that may happen only once: none is repeated, and each is accounted for."""

from pathlib import Path
from typing import Any

from galaxy.cli.local import LocalGalaxy, local_galaxy

GUARD = "shell = true\n"
EFFECT = "echo happened >> effect-of-{star}; exec sleep 60"


def star(name: str, **more: Any) -> dict[str, Any]:
    """Return a star that takes effect once and then goes on for so long that it is cut off."""
    shell = {"shell": EFFECT.format(star=name)}
    return {"id": name, "tool": "shell.run", "arguments": shell, "effects": "once", **more}


def verify(name: str) -> dict[str, Any]:
    return {
        "tool": "file.read",
        "arguments": {"path": f"effect-of-{name}"},
        "happened": r"result.content == 'happened\n'",
    }


def has_ended(galaxy: LocalGalaxy, constellation: str) -> bool:
    return galaxy.request("GET", f"/v1/constellations/{constellation}").json()["ended_at"] is not None


def test_an_effect_that_a_killed_agent_began_is_not_repeated_but_verified_or_given_up(tmp_path: Path):
    work = tmp_path / "laptop" / "work"
    effects = [work / "effect-of-sure", work / "effect-of-unsure"]
    with local_galaxy(tmp_path) as galaxy:
        galaxy.add_agent("laptop", "--slots", "2", guard=GUARD)
        galaxy.wait_for_agents()
        body = {"stars": [star("sure", verify=verify("sure")), star("unsure")]}
        constellation = galaxy.request("POST", "/v1/constellations", json=body).json()["id"]
        galaxy.wait_until(lambda: all(effect.exists() and effect.read_text() for effect in effects), "no effect yet")

        galaxy.agents["laptop"].kill()
        galaxy.agents["laptop"].start()
        galaxy.wait_until(lambda: has_ended(galaxy, constellation), "it has not ended")
        picture = galaxy.request("GET", f"/v1/constellations/{constellation}").json()

    sure, unsure = sorted(picture["stars"], key=lambda star: star["id"])
    assert [effect.read_text() for effect in effects] == ["happened\n", "happened\n"]
    assert (sure["state"], sure["result"]["content"]) == ("succeeded", "happened\n")
    assert [(each["purpose"], each["outcome"]) for each in sure["attempts"]] == [
        ("run", "unknown"),
        ("verify", "succeeded"),
    ]
    assert (unsure["state"], unsure["failure"]["code"]) == ("failed", "outcome_unknown")
    assert "the agent was killed while the call ran" in unsure["failure"]["message"]
    assert [each["failure"]["code"] for each in unsure["attempts"]] == ["cut_off"]
