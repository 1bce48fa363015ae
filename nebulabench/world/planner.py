"""A planner that is no help: late, silent, wrong, contradictory, and now and then right."""

import asyncio
from collections.abc import Callable, Sequence
from random import Random

from galaxy.core.edit import AddLine, AddStar, AnyOperation, Edit, RemoveStar, Retry, Skip, Supersede, UpdateStar
from galaxy.core.goal import Answer, Done, Fact, GiveUp
from galaxy.core.star import Line, Star, When
from galaxy.planner.contract import Meter, NoAnswer, PlannerFailed, View

from . import workload

ADVERSARY = "adversary"
WHENS = (When.SUCCESS, When.ALWAYS, When.FAILURE)


class Adversary:
    """Asked by one incarnation of a node. When `calm`, it comes to an end."""

    def __init__(self, random: Random, devices: list[str], calm: Callable[[], bool]) -> None:
        self._random = random
        self._devices = devices
        self._calm = calm
        self._drawn = 0

    async def plan(self, view: View, meter: Meter) -> Edit:
        await self._think()
        return Edit(tuple(self._drawing(view)) or (AddStar(self._star(view)),), "a plan")

    async def revise(self, view: View, facts: Sequence[Fact], meter: Meter) -> Answer:
        await self._think()
        if self._calm():
            failed = tuple(name for name, one in view.stars.items() if one.state == "failed" or one.failure_held)
            return self._random.choice((Done(despite=failed), GiveUp("enough"), GiveUp("no more")))
        drawn = self._random.random()
        if drawn < 0.15:
            return Done()
        if drawn < 0.2:
            return GiveUp("it is no use")
        if drawn < 0.35:
            return Edit((), "go on")
        return Edit(tuple(self._drawing(view)), "better so")

    async def _think(self) -> None:
        random = self._random
        if self._calm():
            await asyncio.sleep(random.uniform(0.0, 1.0))
            return
        await asyncio.sleep(random.choice((0.0, 0.5, 3.0, 20.0, 200.0)) * random.random())
        drawn = random.random()
        if drawn < 0.08:
            raise PlannerFailed("it has no model")
        if drawn < 0.16:
            raise NoAnswer("it does not know")
        if drawn < 0.2:
            raise RuntimeError("a bug in a planner")

    def _drawing(self, view: View) -> list[AnyOperation]:
        """Return some operations, of which none need make sense."""
        random, names = self._random, [*view.stars, "nobody"]
        found: list[AnyOperation] = []
        for _ in range(random.choice((0, 1, 2, 5))):
            one, other = random.choice(names), random.choice(names)
            match random.randrange(9):
                case 0 | 1 | 2 | 3:
                    added = self._star(view)
                    found.append(AddStar(added))
                    if random.random() < 0.6:
                        found.append(
                            AddLine(Line(one, added.id, random.choice((When.SUCCESS, When.ALWAYS, When.FAILURE))))
                        )
                case 4:
                    found.append(AddLine(Line(one, other)))
                case 5:
                    found.append(RemoveStar(one))
                case 6:
                    # What may happen only once is not asked for twice: a planner may decide so, but no judge knows.
                    is_once = one in view.stars and view.stars[one].star.tool == workload.ONCE
                    found.append(Skip(one) if is_once or random.random() < 0.5 else Retry(one))
                case 7:
                    found.append(Supersede(one, self._star(view)))
                case _:
                    if one in view.stars:
                        found.append(UpdateStar(self._star(view, one)))
        return found

    def _star(self, view: View, name: str = "") -> Star:
        self._drawn += 1
        name = name or f"p{view.revision}x{self._drawn}"
        return workload.star(self._random, f"{view.constellation}/{name}", self._devices, [])
