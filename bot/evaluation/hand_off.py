"""Should a person take over? How many of the messages where one should are found, at a fixed rate of false alarms.

Each way's threshold is the one that would have called a person for a tenth of the training messages that need none; what it
then does on held-out messages is told with the false alarms that there were.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bot.errors import BotError, DataError
from bot.evaluation.label_ways import Known, Way, known_messages, ways
from bot.evaluation.labellers import Labeller, spread
from bot.evaluation.labels import interval
from bot.evaluation.results import HandOffArm, HandOffTask
from bot.evaluation.rooms import Rooms
from bot.evaluation.statistics import FEWEST
from bot.runs.progress import Progress, Step
from bot.training.labelled import Labelled

TASK, SHOULD = "handoff", "true"
RATE = 0.1
"""Share of the messages that need no person for which one may be called."""
_MOST = 500
"""Training messages that choose a threshold: more would move it by less than the held-out ones can tell."""


async def hand_off_task(domain: str, rooms: Rooms, progress: Progress) -> HandOffTask | None:
    """None, with a remark, where the transcripts do not say when a person should take over."""
    try:
        known = known_messages(domain, rooms, TASK)
        if set(known.parts.labels) != {SHOULD, "false"}:
            raise DataError(f"handoff is {', '.join(known.parts.labels)}.", "Label it true or false.")
    except DataError as error:
        progress.note(f"Hand-off is left out: {error}")
        return None
    should = [message for message in known.parts.held_out if message.label == SHOULD]
    if remark := too_few(len({message.conversation for message in should}), len(known.parts.held_out)):
        progress.note(remark)
    arms = []
    all_ways = ways(known, rooms)
    for number, way in enumerate(all_ways):
        progress.step(Step("hand-off", number, len(all_ways)))
        arms.append(await _arm(way, known))
    progress.step(Step("hand-off", len(all_ways), len(all_ways)))
    return HandOffTask(messages=len(known.parts.held_out), should=len(should), false_alarm_rate=RATE, arms=tuple(arms))


def too_few(should: int, messages: int) -> str:
    """What the reader must know where `should` conversations are too few for an interval; "" where they are enough."""
    if should >= FEWEST:
        return ""
    return (
        f"Only {should} held-out conversations, of {messages} messages, have one that a person should take over; recall has"
        f" no interval below {FEWEST}. Label about {math.ceil(FEWEST / max(should, 1))} times as many transcripts."
    )


async def _arm(way: Way, known: Known) -> HandOffArm:
    name, make = way
    held_out = known.parts.held_out
    calm = [message for message in known.parts.training if message.label != SHOULD]
    try:
        labeller = await make()
        limit = threshold(await _margins(labeller, known, spread(calm, _MOST)), RATE)
        calls = await _margins(labeller, known, held_out) > limit
    except BotError as error:
        return HandOffArm(name=name, failure=str(error))
    should = np.array([message.label == SHOULD for message in held_out])
    found = calls[should]
    low, high = interval(list(found), [message.conversation for message in held_out if message.label == SHOULD])
    return HandOffArm(name=name, recall=float(found.mean()), low=low, high=high, false_alarms=float(calls[~should].mean()))


async def _margins(labeller: Labeller, known: Known, messages: Sequence[Labelled]) -> np.ndarray:
    """How much likelier a person is than none, in nats, for each message."""
    scores = await labeller.scores(messages)
    person = known.parts.labels.index(SHOULD)
    margins: np.ndarray = scores[:, person] - scores[:, 1 - person]
    return margins


def threshold(margins: np.ndarray, rate: float) -> float:
    """The lowest of `margins` above which at most a share `rate` of them lies."""
    return float(np.sort(margins)[::-1][int(rate * len(margins))])
