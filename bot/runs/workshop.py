"""The workshop: runs started, watched, cancelled and resumed from a server, each in a process of its own, one at a time
whatever its kind.

A run outlives the server that started it, and one started at a terminal is seen here too: what stands on disk
(`folder.py`) is the truth. Loads no model and no torch.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from bot.errors import Conflict, RunError
from bot.runs.folder import KINDS, RESUMABLE, Kind, RunFolder, Runs
from bot.runs.watching import Seen, Watched
from bot.settings import PREFIX, Settings

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
        self._process: subprocess.Popen[bytes] | None = None
        self._others: set[Path] = set()
        self._log = settings.var / _STARTING
        self._watched: dict[Kind, dict[str, Watched]] = {kind: {} for kind in KINDS}
        # Looking takes a run's lock for a moment: two who look at once would take each other for a process at work.
        self._busy = threading.RLock()

    def runs(self, kind: Kind) -> list[RunFolder]:
        """The newest, newest first."""
        with self._busy:
            return Runs(self._settings.var, kind).all()[:SHOWN]

    def watch(self, kind: Kind, folders: Sequence[RunFolder]) -> list[Seen]:
        """What each of these runs said until now. Only theirs is kept in mind."""
        with self._busy:
            before = self._watched[kind]
            kept = {folder.run.id: before.get(folder.run.id) or Watched(folder.path) for folder in folders}
            self._watched[kind] = kept
            return [watched.look() for watched in kept.values()]

    @property
    def is_idle(self) -> bool:
        """Whether no run is at work and none is beginning or ending."""
        try:
            with self._busy:
                self._check_free()
        except Conflict:
            return False
        return True

    def start(self, kind: Kind, source: str, options: Sequence[str] = ()) -> None:
        """Begin a run of `source`, with further words for its command; `arrived` says when it is there. Raises Conflict
        while another run of any kind is at work."""
        self._let_end()
        with self._busy:
            self._check_free()
            self._others = {folder.path for folder in self._all()}
            self._open([*kind.command(self._settings.workspace, source), *options], self._settings.var / _STARTING)

    def resume(self, kind: Kind, id: str) -> None:
        """Go on with a run that was interrupted or cancelled. Raises Conflict while another one is at work, RunError for a
        run that cannot go on."""
        self._let_end()
        with self._busy:
            self._check_free()
            folder = Runs(self._settings.var, kind).get(id)
            if not self.is_resumable(kind, folder):
                raise RunError(
                    f"Run {id} is {folder.run.state} or not the newest unfinished one of {folder.run.source}.",
                    "Choose that one, or start anew.",
                )
            self._others = {other.path for other in self._all()} - {folder.path}
            words = kind.command(self._settings.workspace, folder.run.source)
            self._open([*words, "--resume"], folder.path / OUTPUT)

    def is_resumable(self, kind: Kind, folder: RunFolder) -> bool:
        """`--resume` takes the newest unfinished run of a source, so no other one can be gone on with."""
        if folder.run.state not in RESUMABLE:
            return False
        with self._busy:
            return Runs(self._settings.var, kind).unfinished(folder.run.source).run.id == folder.run.id

    def cancel(self, kind: Kind, id: str) -> None:
        """Ask a run to stop; it says "cancelled" once it has. Raises RunError for one that is not at work."""
        with self._busy:
            folder = Runs(self._settings.var, kind).get(id)
            if folder.run.state != "running":
                raise RunError(f"Run {id} is {folder.run.state}.", "Only a running one can be cancelled.")
            with suppress(ProcessLookupError):
                os.kill(folder.run.pid, signal.SIGINT)

    def arrived(self) -> RunFolder | None:
        """The run that was started or resumed last, once its process works on it; None until then. Raises RunError with
        what the process said last where it ended before that."""
        process = self._process
        if process is None:
            return None
        ended = process.poll() is not None
        with self._busy:
            for folder in self._all():
                begun = folder.run.state != "interrupted" or ended
                if begun and folder.run.pid == process.pid and folder.path not in self._others:
                    self._put_log(folder)
                    return folder
        if ended:
            raise RunError(f"The run ended before it began: {_last_line(self._log)}")
        return None

    def _all(self) -> Iterator[RunFolder]:
        for kind in KINDS:
            yield from Runs(self._settings.var, kind).all()

    def _let_end(self) -> None:
        """A process whose run has ended takes a moment more."""
        if self._process is not None:
            with self._busy:
                at_work = any(folder.run.state == "running" for folder in self._all())
            if not at_work:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(_ENDING)

    def _check_free(self) -> None:
        for folder in self._all():
            if folder.run.state == "running":
                raise Conflict(f"Run {folder.run.id} is at work, and one at a time is enough.", "Wait for it, or cancel it.")
        if self._process is not None and self._process.poll() is None:
            raise Conflict("A run is just beginning or ending, and one at a time is enough.", "Try again in a moment.")

    def _open(self, command: list[str], log: Path) -> None:
        log.parent.mkdir(parents=True, exist_ok=True)
        workspace = ["--workspace", str(self._settings.workspace)]
        passed = {PREFIX + name.upper(): str(getattr(self._settings, name)) for name in _PASSED}
        with log.open("wb") as output:
            # A session of its own: neither Ctrl-C at the server nor its end reaches the run.
            process = subprocess.Popen(  # noqa: S603 - our own command; a kind's front has read what it is given
                [sys.executable, "-m", "bot", *command, *workspace],
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


def _last_line(log: Path) -> str:
    try:
        lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        lines = []
    return lines[-1].removeprefix("bot: ")[:_LONGEST] if lines else "it said nothing."
