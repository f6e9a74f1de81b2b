"""How well the messages of a domain get their labels: by a fine-tuned head, by prompts, by simple baselines.

Every way labels the same held-out messages, those that the classifiers' training holds out. A way that cannot is told with
the reason; a task whose labels the transcripts lack is left out, with a remark.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from bot.errors import BotError, DataError
from bot.evaluation.label_ways import Known, Way, known_messages, ways
from bot.evaluation.measured import SHARE, Measured
from bot.evaluation.results import LabelArm, LabelTask
from bot.evaluation.rooms import Rooms
from bot.evaluation.statistics import compare
from bot.runs.progress import Progress, Step
from bot.training.scores import judge

TASKS = ("intent", "sentiment")


async def label_tasks(domain: str, rooms: Rooms, progress: Progress, tasks: Sequence[str] = TASKS) -> tuple[LabelTask, ...]:
    """Each task with every way's accuracy, its 95 % interval over conversations, macro-F1 and time. Raises nothing for a way
    that fails."""
    found = []
    for task in tasks:
        try:
            known = known_messages(domain, rooms, task)
        except DataError as error:
            progress.note(f"Labels of {task} are left out: {error}")
            continue
        found.append(await _task(known, ways(known, rooms), progress))
    return tuple(found)


async def _task(known: Known, all_ways: Sequence[Way], progress: Progress) -> LabelTask:
    held_out = known.parts.held_out
    wanted = [message.label for message in held_out]
    arms = []
    for number, way in enumerate(all_ways):
        progress.step(Step(f"labels of {known.task}", number, len(all_ways)))
        arms.append(await _arm(way, known))
    progress.step(Step(f"labels of {known.task}", len(all_ways), len(all_ways)))
    (frequent, _), *_ = Counter(message.label for message in known.parts.training).most_common(1)
    arms.append(_judged("the most frequent label", [frequent] * len(wanted), known, 0.0))
    return LabelTask(task=known.task, labels=known.parts.labels, messages=len(held_out), arms=tuple(arms))


async def _arm(way: Way, known: Known) -> LabelArm:
    name, make = way
    held_out, labels = known.parts.held_out, known.parts.labels
    try:
        labeller = await make()
        await labeller.scores(held_out[:1])  # what is loaded at the first question costs no message its time
        start = time.perf_counter()
        scores = await labeller.scores(held_out)
        seconds = (time.perf_counter() - start) / len(held_out)
    except BotError as error:
        return LabelArm(name=name, failure=str(error))
    return _judged(name, [labels[place] for place in scores.argmax(1)], known, seconds)


def _judged(name: str, given: Sequence[str], known: Known, seconds: float) -> LabelArm:
    held_out = known.parts.held_out
    found = judge(given, [message.label for message in held_out])
    right = [label == message.label for label, message in zip(given, held_out, strict=True)]
    low, high = interval(right, [message.conversation for message in held_out])
    return LabelArm(
        name=name, accuracy=found.accuracy, low=low, high=high, macro_f1=found.macro_f1, seconds_per_message=seconds
    )


def interval(right: Sequence[bool], conversations: Sequence[str]) -> tuple[float | None, float | None]:
    """Ends of the 95 % interval of the share that is right, by drawing conversations anew; None where they are too
    few."""
    measured = Measured("right", SHARE, "higher", tuple(conversations), {"": tuple(map(float, right))})
    figures = compare([measured], "")[0].figures
    return (figures[0].low, figures[0].high) if figures else (None, None)
