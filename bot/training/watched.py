"""What both trainings on the Hugging Face Trainer share: a running loss, which ends a lost run, and who tells of it."""

from __future__ import annotations

import math
import time
from typing import Any

from transformers import Trainer, TrainerCallback

from bot.errors import Refused
from bot.runs.progress import Progress, Step

_SMOOTHING = 0.9


class WatchedTrainer(Trainer):  # type: ignore[misc]
    """`running_loss` is smoothed over steps, None before the first one."""

    running_loss: float | None = None

    def keep_loss(self, value: float) -> None:
        """Raises Refused for a loss that is not finite."""
        if not math.isfinite(value):
            raise Refused(
                f"The loss became {value} at step {self.state.global_step + 1}.", "Train with a lower learning_rate."
            )
        before = self.running_loss if self.running_loss is not None else value
        self.running_loss = _SMOOTHING * before + (1 - _SMOOTHING) * value


class Watcher(TrainerCallback):  # type: ignore[misc]
    """Tells how far a run is. `trainer` is set once there is one."""

    trainer: WatchedTrainer

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._held_out: float | None = None
        self._start: tuple[float, int] | None = None

    def _tell(self, state: Any) -> None:
        assert self._start is not None
        start, before = self._start
        rate = (state.num_input_tokens_seen - before) / max(time.perf_counter() - start, 1e-9)
        step = Step("training", state.global_step, state.max_steps, self.trainer.running_loss, self._held_out, rate)
        self._progress.step(step)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._start = self._start or (time.perf_counter(), state.num_input_tokens_seen)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._tell(state)

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: dict[str, float], **_: Any) -> None:
        self._held_out = metrics["eval_loss"]
        self._tell(state)
