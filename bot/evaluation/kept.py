"""What arms said, kept in the run's folder as soon as each arm is done, so that an interrupted evaluation asks none twice.

A run goes on only with the inputs that it began with (`RunFolder.begin_with`), so what is kept is what would be said again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter

from bot.blocking import wait_for
from bot.evaluation.arms import Arm
from bot.evaluation.asking import Asked, ask
from bot.evaluation.items import Item
from bot.evaluation.rooms import Rooms
from bot.files import read_text, write_atomic
from bot.runs.progress import Progress, Step


@dataclass(frozen=True)
class Kept:
    """What `ask` gave, in how many seconds."""

    asked: Asked
    seconds: float


_KEPT: TypeAdapter[Kept] = TypeAdapter(Kept)


@dataclass(frozen=True)
class Stage:
    """Arm `number` of `arms`, as a part of the whole."""

    to: Progress
    number: int
    arms: int

    def step(self, step: Step) -> None:
        self.to.step(Step(step.stage, self.number * step.total + step.done, self.arms * step.total))

    def note(self, text: str) -> None:
        self.to.note(text)


def ask_once(
    name: str, arms: Sequence[Arm], items: Sequence[Item], seeds: Sequence[int], rooms: Rooms, folder: Path, to: Progress
) -> Kept:
    """What `ask` gives for all arms; those that `folder` keeps under `name` are read instead."""
    found = []
    for number, arm in enumerate(arms):
        place = folder / f"{name}.{arm.name}.json"
        if place.exists():
            found.append(_KEPT.validate_json(read_text(place)))
            continue
        began = time.perf_counter()
        asked = wait_for(partial(ask, [arm], items, seeds, rooms, Stage(to, number, len(arms))))
        found.append(Kept(asked, time.perf_counter() - began))
        # What failed is asked again: its cause may be gone.
        if not asked.failures:
            write_atomic(place, _KEPT.dump_json(found[-1]).decode() + "\n")
    asked_all = Asked(
        tuple(reply for kept in found for reply in kept.asked.replies),
        tuple(cost for kept in found for cost in kept.asked.costs),
        tuple(failure for kept in found for failure in kept.asked.failures),
        tuple(note for kept in found for note in kept.asked.notes),
    )
    return Kept(asked_all, sum(kept.seconds for kept in found))
