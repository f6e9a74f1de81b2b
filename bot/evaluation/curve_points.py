"""The points of a learning curve: trained and measured one after the other, each kept once it is done.

A point lies in a file named by the hash of all that it depends on. So a run that was broken off goes on with the next
point, and one whose inputs changed computes anew what they change. Knows nothing of what a point is compared with.
"""

from __future__ import annotations

import gc
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from bot.errors import DataError
from bot.evaluation.beats import Scores, scores_of
from bot.evaluation.measured import REFERENCE_COST, Measured
from bot.evaluation.results import CurvePoint
from bot.files import read_json, write_atomic
from bot.runs.progress import Progress, Step
from bot.training.paired import RowLoss
from bot.training.prepared import Prepared
from bot.training.rooms import Rooms
from bot.types import Adapter, content_hash

if TYPE_CHECKING:
    from bot.training.subset import Subset

STAGE, INNER = "learning curve", "one training"


@dataclass(frozen=True)
class Further:
    """Figures beyond the reference cost, for which the adapter must reply. `measure` is given it as a folder that lasts as
    long as the call, and answers with measures of one arm; `hash` is of all that they depend on beside the adapter."""

    hash: str
    measure: Callable[[Adapter], Sequence[Measured]]


class Point(BaseModel):
    """A point as it is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    transcripts: int
    draw: int
    seconds: float
    scores: dict[str, Scores]

    def told(self) -> CurvePoint:
        figures = {name: scores.mean for name, scores in self.scores.items() if scores.sums}
        return CurvePoint(transcripts=self.transcripts, draw=self.draw, seconds=self.seconds, figures=figures)


class Points:
    """Those of one recipe, kept in `folder`."""

    def __init__(self, prepared: Prepared, desk: Rooms, folder: Path, further: Further | None) -> None:
        self._prepared, self._desk, self._folder, self._further = prepared, desk, folder, further
        # A precision that a probe chooses may be another one when the run goes on.
        self._dtype = "float32" if desk.settings.dtype == "auto" else desk.settings.dtype

    def bare(self) -> Scores:
        """What held-out replies cost under the recipe's prompt without an adapter."""
        from bot.training.subset import bare_losses

        recipe, rows = self._prepared.plan.recipe, self._prepared.material.held_out
        return costs_of(bare_losses(self._desk.base, recipe, rows))

    def all(self, subsets: Sequence[Subset], progress: Progress) -> list[Point]:
        """A point for each subset, in their order: read where it is there, else made and kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        found = [self._kept(subset) for subset in subsets]
        done = sum(point is not None for point in found)
        if done:
            progress.note(f"{done} of {len(found)} points of the learning curve were done before.")
        progress.step(Step(STAGE, done, len(found)))
        work, left = 0, sum(_work(subset) for subset, point in zip(subsets, found, strict=True) if point is None)
        started = time.perf_counter()
        for number, subset in enumerate(subsets):
            if found[number] is None:
                point = found[number] = self._made(subset, progress)
                done += 1
                work, left = work + _work(subset), left - _work(subset)
                progress.step(Step(STAGE, done, len(found)))
                progress.note(_remark(point, left * (time.perf_counter() - started) / work))
        return [point for point in found if point is not None]

    def _path(self, subset: Subset) -> Path:
        from bot.training.subset import key

        whole = key(subset, self._prepared.material.held_out, self._desk.base, self._dtype)
        further = self._further.hash if self._further else ""
        return self._folder / f"{subset.transcripts}-{subset.draw}-{content_hash(whole, further)[:24]}.json"

    def _kept(self, subset: Subset) -> Point | None:
        """A file that is not whole counts as none."""
        try:
            return Point.model_validate(read_json(self._path(subset)))
        except (DataError, ValidationError):
            return None

    def _made(self, subset: Subset, progress: Progress) -> Point:
        from bot.training import subset as training
        from bot.training.loss import row_losses

        started, work = time.perf_counter(), self._folder / "work"
        # What a run left that was broken off is not gone on with.
        shutil.rmtree(work, ignore_errors=True)
        try:
            model = training.trained(subset, self._desk.base, self._dtype, work / "checkpoints", _Inner(progress))
            seconds = time.perf_counter() - started
            losses = row_losses(model, self._prepared.material.held_out, subset.recipe.batch_size)
            scores = {REFERENCE_COST: costs_of(losses)}
            if self._further:
                name = self._prepared.plan.name
                adapter = training.written(model, name, subset.recipe, self._desk.base, work / "adapter")
                del model
                gc.collect()
                for measured in self._further.measure(adapter):
                    scores[measured.name] = scores_of(measured, *measured.values)
        finally:
            shutil.rmtree(work, ignore_errors=True)
            # The model and what trained it hold one another: memory of one point is given back before the next.
            gc.collect()
        point = Point(transcripts=subset.transcripts, draw=subset.draw, seconds=round(seconds, 1), scores=scores)
        write_atomic(self._path(subset), point.model_dump_json() + "\n")
        return point


class _Inner:
    """A training's steps without the loss that chooses its checkpoint, which is not held out here; no remarks."""

    def __init__(self, to: Progress) -> None:
        self._to = to

    def step(self, step: Step) -> None:
        self._to.step(Step(INNER, step.done, step.total, step.loss, None, step.tokens_per_second))

    def note(self, text: str) -> None:
        pass


def costs_of(losses: Iterable[RowLoss]) -> Scores:
    """Reference costs by conversation: nats over tokens."""
    sums: dict[str, tuple[float, float]] = {}
    for loss in losses:
        nats, tokens = sums.get(loss.conversation, (0.0, 0.0))
        sums[loss.conversation] = (nats + loss.nats, tokens + loss.tokens)
    return Scores(better="lower", sums=sums)


def _work(subset: Subset) -> int:
    """Rows to read, unless training ends early."""
    return subset.recipe.epochs * len(subset.training)


def _remark(point: Point, seconds_left: float) -> str:
    figures = ", ".join(f"{name} {figure:.3f}" for name, figure in point.told().figures.items())
    left = f"about {seconds_left / 60:.0f} min left" if seconds_left >= 30 else "nearly done"
    return f"{point.transcripts} transcripts, draw {point.draw + 1}: {figures}; {point.seconds:.0f} s, {left}."
