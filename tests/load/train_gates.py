"""D6: replies shuffled three ways, and a run stopped at 15 % of its steps; ten trainings of 160 chats. D6b: twenty runs that
differ by their seed alone, after a first with its five reseeds; twenty-six trainings.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import tempfile
from pathlib import Path

from bot.bench.rows import Row, at_most
from bot.errors import TrainingError
from bot.runs.progress import Quiet, Step
from bot.training import adapter as adapters
from bot.training import trainer
from bot.training.judge import Context, judge
from bot.training.train import train
from tests.load.train_common import Bench, desk_of, prepared

SHUFFLES = (1, 2, 3)
RESEEDS = 20
KEYS = {"held_out": 0.25, "epochs": 2, "patience": 2}


def _shuffle(recipe: Path, seed: int) -> None:
    """Every reply to another's question."""
    path = recipe.parent / "transcripts" / "chats.jsonl"
    chats = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    replies = [m["content"] for chat in chats for m in chat["messages"] if m["role"] == "agent"]
    random.Random(seed).shuffle(replies)
    for chat in chats:
        for message in chat["messages"]:
            if message["role"] == "agent":
                message["content"] = replies.pop()
    path.write_text("".join(json.dumps(chat, ensure_ascii=False) + "\n" for chat in chats), encoding="utf-8")


def _refusal(recipe: Path, *overrides: str) -> str:
    """Why the run made no version; "" where it made one."""
    try:
        train(recipe, desk_of(recipe), overrides)
    except TrainingError as error:
        return error.what
    return ""


class _Stopped(Exception):
    pass


class _StopAt(Quiet):
    def __init__(self, share: float) -> None:
        self._share = share

    def step(self, step: Step) -> None:
        if step.stage == "training" and step.done >= self._share * step.total:
            raise _Stopped


def _stopped_early(recipe: Path) -> str:
    """Why a run stopped at 15 % of its steps is refused as the successor of the version there is."""
    desk = desk_of(recipe)
    given = prepared(recipe, desk)
    settings, material = given.plan.recipe, given.material
    model = adapters.attach(desk.base, settings)
    with tempfile.TemporaryDirectory() as work, contextlib.suppress(_Stopped):
        trainer.run(model, settings, material.training, material.held_out, Path(work), _StopAt(0.15), "float32")
    judged = judge(
        Context(model, given.tokenizer, given.plan.name, settings, given.prompt, material, desk.adapters, Quiet())
    )
    return next((gate.words for gate in judged.gates if gate.name == "successor" and not gate.ok), "")


def _first(bench: Bench, name: str) -> Path:
    """The recipe of a whole run that became version 1, with the spread of five reseeds on its card."""
    recipe = bench.workspace(name, 0, 160, **KEYS)
    reason = _refusal(recipe, "reseeds=5")
    assert not reason, reason
    return recipe


def refused(bench: Bench) -> list[Row]:
    told = {}
    for seed in SHUFFLES:
        shuffled = bench.workspace(f"shuffled-{seed}", 0, 160, **KEYS)
        _shuffle(shuffled, seed)
        told[f"shuffled with seed {seed}"] = _refusal(shuffled)
    gates = {name: re.findall(r"gate '([a-z-]+)'", reason) for name, reason in told.items()}
    told["15 %"] = _stopped_early(_first(bench, "whole"))
    return [
        at_most("D6", f"adapters of replies shuffled in {len(SHUFFLES)} ways, and one stopped at 15 % of the steps, that became a"
                " version", sum(not reason for reason in told.values()), 0, f"of {len(told)}", gates=gates, **told),
    ]  # fmt: skip


def false_alarms(bench: Bench) -> list[Row]:
    recipe, alarms = _first(bench, "seeds"), []
    for seed in range(100, 100 + RESEEDS):
        if reason := _refusal(recipe, f"seed={seed}"):
            alarms.append(reason)
        shutil.rmtree(recipe.parent / "v2", ignore_errors=True)  # each is judged against the first
    return [at_most("D6b", f"false alarms in {RESEEDS} reseeds", len(alarms), 1, "runs", told=alarms)]
