"""A process at work on a run: what it says goes into the run's folder, and however it ends, the folder says so."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cached_property
from typing import Any

from bot.runs.folder import RunFolder
from bot.runs.progress import Progress, Step

_CURVES = ("loss", "held_out", "tokens_per_second")


class RunLog:
    """Writes what a run says into its folder, a training's curves for TensorBoard too, and passes it on. `outcome` is what
    it made, in a few words."""

    outcome = ""

    def __init__(self, folder: RunFolder, to: Progress) -> None:
        self._to = to
        self._path = folder.path
        self._events = (folder.path / "events.jsonl").open("a", encoding="utf-8", buffering=1)

    @cached_property
    def _curves(self) -> Any:
        from tensorboardX import SummaryWriter

        return SummaryWriter(str(self._path / "tensorboard"))

    def step(self, step: Step) -> None:
        self._write(
            {"at": round(time.time(), 2), **{key: value for key, value in asdict(step).items() if value is not None}}
        )
        if step.stage == "training":
            for name in _CURVES:
                if (value := getattr(step, name)) is not None:
                    self._curves.add_scalar(name, value, step.done)
        self._to.step(step)

    def note(self, text: str) -> None:
        self._write({"note": text})
        self._to.note(text)

    def close(self) -> None:
        self._events.close()
        if "_curves" in self.__dict__:
            self._curves.close()

    def _write(self, event: dict[str, Any]) -> None:
        self._events.write(json.dumps({"at": round(time.time(), 2), **event}, ensure_ascii=False) + "\n")


@contextmanager
def at_work(folder: RunFolder, to: Progress, is_lost: Callable[[BaseException], bool]) -> Iterator[RunLog]:
    """Hold the run until the work is done: it is "running", then "done", with its checkpoints removed. Stopped by hand it is
    "cancelled"; after an error it is "failed" where that is lost for good, else "interrupted". Raises Conflict while
    another process works on it."""
    with folder.held():
        folder.change(state="running", pid=os.getpid(), message="")
        log = RunLog(folder, to)
        try:
            yield log
        except BaseException as error:
            # A disk that is full may refuse this too; then the lock alone tells that nobody works on the run.
            with suppress(OSError):
                _ended(folder, error, is_lost)
            raise
        finally:
            log.close()
        folder.change(state="done", outcome=log.outcome)
        shutil.rmtree(folder.checkpoints, ignore_errors=True)


def _ended(folder: RunFolder, error: BaseException, is_lost: Callable[[BaseException], bool]) -> None:
    if isinstance(error, KeyboardInterrupt):
        folder.change(state="cancelled", message="Stopped by hand.")
    elif is_lost(error):
        folder.change(state="failed", message=str(error))
        shutil.rmtree(folder.checkpoints, ignore_errors=True)
    else:
        # What it has learnt is worth keeping, whatever stands in its way now.
        folder.change(state="interrupted", message=str(error))
