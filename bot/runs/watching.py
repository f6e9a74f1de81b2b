"""A run as it is watched: its events read as they are written, its curves thinned for a plot.

Looking again costs what was said since. Knows nothing of pages.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.runs.progress import Step

POINTS = 500
"""A curve has about so many at most."""
NOTES = 30
"""The last remarks that are kept."""
Points = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True)
class Seen:
    """A run at one moment. `step` is its newest, `trained` its newest of training; `seconds_left` is of the stage it is in,
    at the pace so far, None where that cannot be told. `loss`, `held_out` (nats a token) and `speed` (tokens a second) are
    by training step; `best` is the lowest held-out loss. `notes` are the last of `noted` remarks."""

    step: Step | None
    trained: Step | None
    seconds_left: float | None
    loss: Points
    held_out: Points
    speed: Points
    best: float | None
    notes: tuple[str, ...]
    noted: int


class Watched:
    """What the run in `folder` said. Where it went on from an earlier step, what came after that one is forgotten."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "events.jsonl"
        self._read = 0
        self._stage_began = (0.0, 0)
        self._said_at = 0.0
        self._step: Step | None = None
        self._trained: Step | None = None
        self._loss: dict[int, float] = {}
        self._held_out: dict[int, float] = {}
        self._speed: dict[int, float] = {}
        self._notes: deque[str] = deque(maxlen=NOTES)
        self._noted = 0
        self._seen: Seen | None = None

    def look(self) -> Seen:
        """Read what is new. A line that is not whole yet is left for the next time."""
        if self._listen() or self._seen is None:
            self._seen = Seen(
                self._step, self._trained, self._seconds_left(), thinned(self._loss), thinned(self._held_out),
                thinned(self._speed), min(self._held_out.values(), default=None), tuple(self._notes), self._noted,
            )  # fmt: skip
        return self._seen

    def _listen(self) -> bool:
        """Whether it said something."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
        except FileNotFoundError:
            return False
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            try:
                self._take(json.loads(line))
            except (ValueError, TypeError, KeyError, AttributeError):
                # Cut off by whatever ended the run, and followed by what it said when it went on.
                continue
        return bool(whole)

    def _take(self, event: dict[str, Any]) -> None:
        if "note" in event:
            self._notes.append(str(event["note"]))
            self._noted += 1
            return
        at = float(event.pop("at"))
        step = Step(**event)
        if self._step is None or step.stage != self._step.stage or step.done < self._step.done:
            self._stage_began = (at, step.done)
        self._step, self._said_at = step, at
        if step.stage == "training":
            self._train(step)

    def _train(self, step: Step) -> None:
        if self._trained and step.done < self._trained.done:
            for curve in (self._loss, self._held_out, self._speed):
                for number in [number for number in curve if number >= step.done]:
                    del curve[number]
        self._trained = step
        if step.loss is not None:
            self._loss[step.done] = step.loss
        if step.tokens_per_second is not None:
            self._speed[step.done] = step.tokens_per_second
        # Each step repeats the last measurement.
        if step.held_out is not None and step.held_out != next(reversed(self._held_out.values()), None):
            self._held_out[step.done] = step.held_out

    def _seconds_left(self) -> float | None:
        if self._step is None:
            return None
        began, before = self._stage_began
        done = self._step.done - before
        return (self._said_at - began) / done * (self._step.total - self._step.done) if done > 0 else None


def thinned(curve: Mapping[int, float], most: int = POINTS) -> Points:
    """Points of `curve` at even distances, at most `most` and the last one."""
    points = tuple(curve.items())
    kept = points[:: max(1, -(-len(points) // most))]
    return kept if kept[-1:] == points[-1:] else (*kept, points[-1])
