"""The workshop: training runs started, watched, cancelled and resumed from a server, each in a process of its own.

A run outlives the server that started it, and one started at a terminal is seen here too: what stands on disk (`runs.py`)
is the truth. Loads no model and no torch.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bot.errors import Conflict, DataError, NotFound, TrainingError
from bot.files import read_text
from bot.settings import PREFIX, Settings
from bot.training.recipe import read_recipe
from bot.training.runs import RESUMABLE, RunFolder, Runs
from bot.training.watching import Seen, Watched

SHOWN = 20
"""The newest runs that a page lists."""
POLITE = 10
"""Niceness of a run: chats come first."""
OUTPUT = "output.log"
_STARTING = "starting.log"
_LONGEST = 1_000
_ENDING = 10.0
"""Seconds that a process may take to end after its run has."""
_PASSED = ("base", "dtype", "threads", "embedding", "passages", "threshold", "database")
"""Settings that a run depends on; those of the server hold for the runs that it starts."""


class Workshop:
    """The runs of one workspace. Safe to use from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._runs = Runs(settings.var)
        self._process: subprocess.Popen[bytes] | None = None
        self._others: set[str] = set()
        self._log = self._runs.root / _STARTING
        self._watched: dict[str, Watched] = {}
        # Looking takes a run's lock for a moment: two who look at once would take each other for a process at work.
        self._busy = threading.RLock()

    def recipes(self) -> list[str]:
        """The adapters of this workspace that have a recipe."""
        return sorted(path.parent.name for path in self._settings.workspace.glob("adapters/*/recipe.yaml"))

    def recipe_text(self, name: str) -> str:
        """Raises NotFound for one that is not listed, DataError for one that cannot be read."""
        return read_text(self._recipe(name))

    def runs(self) -> list[RunFolder]:
        """The newest, newest first."""
        with self._busy:
            return self._runs.all()[:SHOWN]

    def watch(self, folders: Sequence[RunFolder]) -> list[Seen]:
        """What each of these runs said until now. Only theirs is kept in mind."""
        with self._busy:
            self._watched = {folder.run.id: self._watched.get(folder.run.id) or Watched(folder.path) for folder in folders}
            return [watched.look() for watched in self._watched.values()]

    @property
    def is_idle(self) -> bool:
        """Whether no run is at work and none is beginning or ending."""
        try:
            with self._busy:
                self._check_free()
        except Conflict:
            return False
        return True

    def start(self, name: str, overrides: Sequence[str] = ()) -> None:
        """Begin a run of that adapter's recipe; `arrived` says when it is there. Raises DataError for a recipe or overrides
        that are not valid, Conflict while another run is at work."""
        recipe = self._recipe(name)
        read_recipe(recipe, overrides)
        self._let_end()
        with self._busy:
            self._check_free()
            self._others = {folder.run.id for folder in self._runs.all()}
            self._open(recipe, [part for text in overrides for part in ("--set", text)], self._runs.root / _STARTING)

    def resume(self, id: str) -> None:
        """Go on with a run that was interrupted or cancelled. Raises Conflict while another one is at work, TrainingError
        for a run that cannot go on."""
        self._let_end()
        with self._busy:
            self._check_free()
            folder = self._runs.get(id)
            if not self.is_resumable(folder):
                raise TrainingError(
                    f"Run {id} is {folder.run.state} or not the newest unfinished one of {folder.run.recipe}.",
                    "Choose that one, or start anew.",
                )
            self._others = {folder.run.id for folder in self._runs.all()} - {id}
            self._open(self._settings.workspace / folder.run.recipe, ["--resume"], folder.path / OUTPUT)

    def is_resumable(self, folder: RunFolder) -> bool:
        """`bot train --resume` takes the newest unfinished run of a recipe, so no other one can be gone on with."""
        if folder.run.state not in RESUMABLE:
            return False
        with self._busy:
            return self._runs.unfinished(folder.run.recipe).run.id == folder.run.id

    def cancel(self, id: str) -> None:
        """Ask a run to stop; it says "cancelled" once it has. Raises TrainingError for one that is not at work."""
        with self._busy:
            folder = self._runs.get(id)
            if folder.run.state != "running":
                raise TrainingError(f"Run {id} is {folder.run.state}.", "Only a running one can be cancelled.")
            with suppress(ProcessLookupError):
                os.kill(folder.run.pid, signal.SIGINT)

    def arrived(self) -> RunFolder | None:
        """The run that was started or resumed last, once its process works on it; None until then. Raises TrainingError
        with what the process said last where it ended before that."""
        process = self._process
        if process is None:
            return None
        ended = process.poll() is not None
        with self._busy:
            for folder in self._runs.all():
                begun = folder.run.state != "interrupted" or ended
                if begun and folder.run.pid == process.pid and folder.run.id not in self._others:
                    self._put_log(folder)
                    return folder
        if ended:
            raise TrainingError(f"The run ended before it began: {_last_line(self._log)}")
        return None

    def _recipe(self, name: str) -> Path:
        if name not in self.recipes():
            raise NotFound("recipe", name, self.recipes(), "A recipe lies in adapters/<name>/recipe.yaml.")
        return self._settings.workspace / "adapters" / name / "recipe.yaml"

    def _let_end(self) -> None:
        """A process whose run has ended takes a moment more."""
        if self._process is not None and not any(folder.run.state == "running" for folder in self.runs()):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_ENDING)

    def _check_free(self) -> None:
        for folder in self._runs.all():
            if folder.run.state == "running":
                raise Conflict(f"Run {folder.run.id} is at work, and one at a time is enough.", "Wait for it, or cancel it.")
        if self._process is not None and self._process.poll() is None:
            raise Conflict("A run is just beginning or ending, and one at a time is enough.", "Try again in a moment.")

    def _open(self, recipe: Path, options: list[str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        workspace = ["--workspace", str(self._settings.workspace)]
        passed = {PREFIX + name.upper(): str(getattr(self._settings, name)) for name in _PASSED}
        with log.open("wb") as output:
            # A session of its own: neither Ctrl-C at the server nor its end reaches the run.
            process = subprocess.Popen(  # noqa: S603 - our own command; overrides were read as a recipe's
                [sys.executable, "-m", "bot", "train", str(recipe), *workspace, *options],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **passed}, start_new_session=True,
            )  # fmt: skip
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, POLITE)
        self._process, self._log = process, log
        # Whoever waits for it, the system keeps no trace of a process that has ended.
        threading.Thread(target=process.wait, name="workshop", daemon=True).start()

    def _put_log(self, folder: RunFolder) -> None:
        """What the process prints goes on in its run's folder."""
        if self._log.name == _STARTING:
            with suppress(OSError):
                self._log = self._log.rename(folder.path / OUTPUT)


def split_overrides(line: str) -> list[str]:
    """`epochs=2 rank=16` → each of them; quotes hold together what has spaces. Raises DataError."""
    if len(line) > _LONGEST:
        raise DataError(
            f"The overrides have {len(line):,} characters; {_LONGEST:,} are allowed.", "Edit the recipe instead."
        )
    try:
        return shlex.split(line)
    except ValueError as error:
        raise DataError(f"{line!r} cannot be read: {str(error).lower()}.", "Write like: epochs=2 rank=16") from None


def _last_line(log: Path) -> str:
    try:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1].removeprefix("bot: ")[:_LONGEST] if lines else "it said nothing."
