"""`bot train`: the one place where the order of a training run is written.

Read the recipe, make rows, train, judge the result, and only then make a version. What a run says and where it stands is in
its folder (`runs.py`); one that was interrupted goes on from its last checkpoint, one that failed leaves its reason. It is
handed its rooms and builds none.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bot.errors import BotError, DataError, Refused
from bot.runs.folder import TRAINING, RunFolder, Runs
from bot.runs.progress import Progress, Quiet, Step
from bot.runs.work import at_work
from bot.training.facts import counted, draft_card, judged
from bot.training.gates import refuse_failed
from bot.training.model_card import model_card
from bot.training.prepared import Plan, Prepared, plan, prepare
from bot.training.processes import is_main, process_count, shared
from bot.training.recipe import Recipe
from bot.training.reseeds import SPREAD, spread_of
from bot.training.result import Sample, TrainedVersion
from bot.training.rooms import Rooms
from bot.training.version import publish

SAMPLES = 3


def train(
    path: Path, desk: Rooms, overrides: Sequence[str] = (), progress: Progress | None = None, resume: bool = False
) -> TrainedVersion | None:
    """The next version of the adapter that the recipe in `path` makes; None in every process but the first.

    `overrides` are like "epochs=2". `resume` goes on with the newest run of that recipe that was interrupted or cancelled,
    under its own overrides. Raises DataError for a recipe or transcripts that cannot be used, TrainingError for a result
    that does not pass every gate; no version is made then.
    """
    runs, place = Runs(desk.settings.var, TRAINING), _place(path, desk.settings.workspace)
    folder = runs.unfinished(place) if resume and is_main() else None
    planned = plan(path, desk, shared(folder.run.options if folder else overrides))
    if is_main() and not folder:
        folder = runs.start(planned.name, place, overrides, os.getpid())
    folder = runs.get(shared(folder.run.id if folder else ""))
    if not is_main():
        return _make(planned, desk, folder, Quiet())
    kept = folder.checkpoints
    with at_work(folder, progress or Quiet(), lambda error: _is_lost(error, kept)) as log:
        made = _make(planned, desk, folder, log)
        log.outcome = made.adapter.ref if made else ""
    return made


def _is_lost(error: BaseException, kept: Path) -> bool:
    """Whether there is nothing to go on with: a result that a gate refused, or bad input before the first checkpoint."""
    return isinstance(error, Refused) or (isinstance(error, BotError) and not kept.is_dir())


def _place(path: Path, workspace: Path) -> str:
    """A recipe's path as the workspace writes it."""
    whole = path.resolve()
    return str(whole.relative_to(workspace.resolve()) if whole.is_relative_to(workspace.resolve()) else whole)


def _make(planned: Plan, desk: Rooms, folder: RunFolder, progress: Progress) -> TrainedVersion | None:
    """None in every process but the first, which alone judges and publishes."""
    started = time.perf_counter()
    if planned.recipe.method == "classifier":
        if process_count() > 1:
            raise DataError(f"{process_count()} processes cannot share a classifier's run.", "Start it in one.")
        from bot.training.classifier import train_classifier

        return train_classifier(planned.name, planned.path, planned.recipe, desk, progress)
    prepared = prepare(planned, desk, progress)
    from bot.engine.local.model import choose_device, choose_dtype
    from bot.training import adapter as adapters
    from bot.training.judge import Context, judge
    from bot.training.memory import check_fits

    precision = shared(folder.run.inputs.get("dtype") or choose_dtype(desk.settings.dtype, choose_device())[0])
    dtype = str(precision).removeprefix("torch.")
    inputs = prepared.inputs(desk) | {"dtype": dtype}
    if is_main() or folder.run.inputs:
        folder.begin_with(inputs)
    recipe, material = planned.recipe, prepared.material
    model = adapters.attach(desk.base, recipe)
    progress.note(check_fits(model, material.training, recipe.batch_size))
    ran = _run(model, prepared, dtype, folder.checkpoints, progress)
    spread = _spread(model, prepared, desk, dtype, progress)
    if not is_main():
        return None
    judgement = judge(
        Context(model, prepared.tokenizer, planned.name, recipe, prepared.prompt, material, desk.adapters, progress, spread)
    )
    refuse_failed(judgement.gates)
    samples = _samples(model, prepared, progress)
    metrics = {
        **judged(judgement.before, judgement.after),
        **({SPREAD: round(spread, 6)} if spread is not None else {}),
        **counted(material),
        **ran,
        "seconds": round(time.perf_counter() - started, 1),
    }
    draft = draft_card(planned.name, desk.base, recipe, prepared.prompt, material, metrics, judgement.gates)
    adapter, card = publish(
        desk.settings.workspace / "adapters" / planned.name,
        desk.base,
        draft,
        lambda place: adapters.save(model, place, draft.base),
        lambda card: model_card(card, samples),
    )
    return TrainedVersion(adapter, card, samples, material.transcripts.bad)


def _run(model: Any, prepared: Prepared, dtype: str, work: Path, progress: Progress) -> dict[str, float]:
    from bot.training import trainer

    material = prepared.material
    rows = [*material.training, *material.canaries]
    return trainer.run(model, prepared.plan.recipe, rows, material.held_out, work, progress, dtype)


def _spread(model: Any, prepared: Prepared, desk: Rooms, dtype: str, progress: Progress) -> float | None:
    """Of held-out loss over the recipe's seeds; None where it has but one."""
    from bot.training import adapter as adapters
    from bot.training.loss import held_out_loss

    recipe, rows = prepared.plan.recipe, prepared.material.held_out

    def again(reseeded: Recipe) -> float:
        other = adapters.attach(desk.base, reseeded)
        planned = dataclasses.replace(prepared, plan=dataclasses.replace(prepared.plan, recipe=reseeded))
        with tempfile.TemporaryDirectory(dir=desk.settings.var) as work:
            _run(other, planned, dtype, Path(shared(work)), Quiet())
            shared(None)  # so that no process removes what another still reads
        return held_out_loss(other, rows, recipe.batch_size)

    return spread_of(recipe, lambda: held_out_loss(model, rows, recipe.batch_size), again, progress)


def _samples(model: Any, prepared: Prepared, progress: Progress) -> tuple[Sample, ...]:
    """Held-out questions spread over the rows, answered without and with the adapter."""
    from bot.training.adapter import reply
    from bot.types import Sampling

    rows, tokenizer = prepared.material.held_out, prepared.tokenizer
    chosen = [rows[number * len(rows) // SAMPLES] for number in range(min(SAMPLES, len(rows)))]
    most = prepared.prompt.prompt.decoding.max_tokens or Sampling().max_tokens
    samples = []
    for row in chosen:
        with model.disable_adapter():
            base = reply(model, tokenizer, row.messages, most)
        adapter = reply(model, tokenizer, row.messages, most)
        samples.append(Sample(row.question, base, adapter, row.reply))
        progress.step(Step("before and after", len(samples), len(chosen)))
    return tuple(samples)
