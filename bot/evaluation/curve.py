"""The learning curve: adapters trained on more and more of a recipe's transcripts, each measured on the held-out ones, and
the number from which on they are better than the best prompt.

Nothing is published. Knows nothing of how replies are asked for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bot.errors import DataError
from bot.evaluation.arms import KNOWLEDGE, Arm
from bot.evaluation.beats import Scores, beats_from, comparable, scores_of
from bot.evaluation.curve_points import Further, Point, Points
from bot.evaluation.measured import REFERENCE_COST, Measured
from bot.evaluation.results import Curve
from bot.runs.progress import Progress
from bot.training.draws import ordered, sizes_up_to
from bot.training.prepared import Plan, Prepared, prepare
from bot.training.processes import process_count
from bot.training.rooms import Rooms

if TYPE_CHECKING:
    from bot.training.subset import Subset

DRAWS = 3
PROMPTS = ("zero-shot", "few-shot", "chain-of-thought")


@dataclass(frozen=True)
class Opponent:
    """What the adapter must beat, the best prompt: its arm's name, its scores by measure."""

    arm: str
    scores: Mapping[str, Scores]


def best_prompt(measured: Sequence[Measured], arms: Iterable[Arm]) -> Opponent | None:
    """Of the arms that are a prompt alone, the one under which the references cost least; None where none was measured."""
    costs = next((one for one in measured if one.name == REFERENCE_COST), None)
    if costs is None:
        return None
    names = [
        arm.name for arm in arms if arm.way in PROMPTS and any(value is not None for value in costs.values.get(arm.name, ()))
    ]
    if not names:
        return None
    best = min(names, key=lambda name: scores_of(costs, name).mean)
    return Opponent(best, {one.name: scores_of(one, best) for one in measured if best in one.values})


def learning_curve(
    plan: Plan,
    folder: Path,
    desk: Rooms,
    progress: Progress,
    sizes: Sequence[int] = (),
    draws: int = DRAWS,
    opponent: Opponent | None = None,
    further: Further | None = None,
) -> Curve:
    """Train at each of `sizes` transcripts (10, 25, 50, 100, 200 … and all, where none is given), `draws` times each: other
    transcripts, another seed.

    `folder` keeps the points, from which a later call goes on. Without an opponent it is the bare base under the recipe's
    own prompt. Raises DataError for sizes that cannot be had, transcripts that cannot be used, or an opponent that was
    measured on other conversations.
    """
    if process_count() > 1:
        raise DataError(f"{process_count()} processes cannot share a learning curve.", "Start it in one.")
    if draws < 1:
        raise DataError(f"{draws} draws are none.", "Take one or more; three show how much the choice matters.")
    # A canary is no transcript.
    bare = plan.recipe.model_copy(update={"canaries": 0})
    prepared = prepare(dataclasses.replace(plan, recipe=bare), desk, progress)
    subsets = _subsets(prepared, sizes, draws)
    points = Points(prepared, desk, folder, further)
    opponent = opponent or Opponent(_prompt_arm(prepared), {REFERENCE_COST: points.bare()})
    _check_same(opponent, prepared)
    made = points.all(subsets, progress)
    for remark in _not_compared(made, opponent):
        progress.note(remark)
    return curve_of(made, _way(prepared), opponent)


def curve_of(points: Iterable[Point], way: str, opponent: Opponent) -> Curve:
    """The curve with what it says of the opponent, in the measures that both have."""
    ordered_points = sorted(points, key=lambda point: (point.transcripts, point.draw))
    beats = {}
    for name, prompt in opponent.scores.items():
        if by_size := _by_size(ordered_points, name):
            beats[name] = beats_from(by_size, prompt)
    return Curve(
        way=way,
        prompt_arm=opponent.arm,
        prompt_figures={name: scores.mean for name, scores in opponent.scores.items() if scores.sums},
        points=tuple(point.told() for point in ordered_points),
        beats_from=beats,
    )


def _subsets(prepared: Prepared, sizes: Sequence[int], draws: int) -> list[Subset]:
    """Draw by draw, so that a run that is looked at early has a whole curve."""
    from bot.training.subset import subset, usable

    material = prepared.material
    conversations = usable(material)
    wanted = sorted(set(sizes)) or sizes_up_to(len(conversations))
    return [
        subset(material, prepared.plan.recipe, order, size, draw)
        for draw, order in ((draw, ordered(conversations, draw)) for draw in range(draws))
        for size in wanted
    ]


def _by_size(points: Iterable[Point], measure: str) -> dict[int, list[Scores]]:
    found: dict[int, list[Scores]] = {}
    for point in points:
        if measure in point.scores:
            found.setdefault(point.transcripts, []).append(point.scores[measure])
    return found


def _check_same(opponent: Opponent, prepared: Prepared) -> None:
    held_out = {row.conversation for row in prepared.material.held_out}
    for name, scores in opponent.scores.items():
        if held_out.isdisjoint(scores.sums):
            raise DataError(
                f"{name} of {opponent.arm} was measured on none of the {len(held_out)} conversations held out here.",
                "Measure it on them.",
            )


def _not_compared(points: Sequence[Point], opponent: Opponent) -> Iterable[str]:
    for name, prompt in opponent.scores.items():
        if by_size := _by_size(points, name):
            every = set(prompt.sums).union(*(scores.sums for draws in by_size.values() for scores in draws))
            if left := len(every) - len(comparable(by_size, prompt)):
                yield f"{name}: {left} of {len(every)} conversations are not compared: the two sides measured other turns."


def _way(prepared: Prepared) -> str:
    method = prepared.plan.recipe.method
    return ("soft-prompt" if method == "soft-prompt" else "prompt+adapter") + _knowledge(prepared)


def _prompt_arm(prepared: Prepared) -> str:
    return prepared.prompt.prompt.technique + _knowledge(prepared)


def _knowledge(prepared: Prepared) -> str:
    return KNOWLEDGE if prepared.plan.recipe.knowledge else ""
