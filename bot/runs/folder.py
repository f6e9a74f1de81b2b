"""Runs on disk: `var/<kind>/<id>/` with run.json (what a run was started with, how it stands), events.jsonl (what it said,
a line a step), checkpoints/ (what it can go on from) and whatever its kind of work adds.

A run that a process works on holds its lock; the system lets go of it however that process ends. So a run that says
"running" and is not locked was interrupted, and can be resumed. Knows nothing of the work itself.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from bot.errors import Conflict, DataError, NotFound, RunError, faults
from bot.files import read_json, write_atomic

State = Literal["running", "interrupted", "cancelled", "failed", "done"]
RESUMABLE = ("interrupted", "cancelled")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of work. `folder` lies in `var`; `command` are the words behind `bot` that work on a source, given the
    workspace and the source as a run names it."""

    folder: str
    command: Callable[[Path, str], list[str]]


TRAINING = Kind("training", lambda workspace, recipe: ["train", str(workspace / recipe)])
EVALUATION = Kind("evaluations", lambda _, scenario: ["evaluate", "--scenario", scenario])
KINDS = (TRAINING, EVALUATION)


class Run(BaseModel):
    """`name` is that of the adapter that is trained or of the domain that is evaluated, `source` what the work is begun and
    resumed by: a recipe's path as the workspace writes it, or a scenario. `options` were given beside it, like
    "epochs=2". `inputs` are hashes of all that the result depends on, none until they are known. `pid` is that of the
    process that works on it, `message` how it ended, `outcome` what it made: a version, or the verdict."""

    model_config = ConfigDict(extra="forbid")

    id: str
    name: str
    source: str
    options: tuple[str, ...] = ()
    inputs: dict[str, str] = {}
    state: State = "running"
    pid: int
    started: str
    message: str = ""
    outcome: str = ""


class RunFolder:
    """One run. `run` is how it stood when it was last read or changed here."""

    def __init__(self, path: Path, run: Run) -> None:
        self.path = path
        self.run = run
        self.checkpoints = path / "checkpoints"
        self._lock = FileLock(path / "lock")

    def change(self, **values: Any) -> None:
        self.run = self.run.model_copy(update=values)
        write_atomic(self.path / "run.json", self.run.model_dump_json(indent=1) + "\n")

    def begin_with(self, inputs: dict[str, str]) -> None:
        """A run goes on only with what it began with; the first time that is written down. Raises RunError naming what
        changed."""
        before = self.run.inputs
        if not before:
            self.change(inputs=inputs)
            return
        changed = sorted(name for name in {*before, *inputs} if before.get(name) != inputs.get(name))
        if changed:
            raise RunError(
                f"Run {self.run.id} cannot go on: since it began, {', '.join(changed)} changed.",
                "Put that back, or begin anew without --resume.",
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Work on it. Raises Conflict while another process does."""
        try:
            # Whoever looks whether it is held has the lock for a moment.
            self._lock.acquire(timeout=1)
        except Timeout:
            raise Conflict(f"Run {self.run.id} is being worked on by process {self.run.pid}.", "Wait for it.") from None
        try:
            yield
        finally:
            self._lock.release()

    def is_held(self) -> bool:
        """Whether a process works on it, this one included."""
        try:
            # Others who look take it for a moment too.
            with FileLock(self._lock.lock_file, timeout=0.2):
                return False
        except Timeout:
            return True

    def events(self) -> list[dict[str, Any]]:
        """What it said so far: `Step`s with the second they were said at, and {"note": text}. A line cut off is left out."""
        try:
            lines = (self.path / "events.jsonl").read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return []
        found = []
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found


class Runs:
    """The runs of one kind in one workspace, by its `var` folder."""

    def __init__(self, var: Path, kind: Kind) -> None:
        self.root = var / kind.folder

    def start(self, name: str, source: str, options: Sequence[str], pid: int) -> RunFolder:
        self.root.mkdir(parents=True, exist_ok=True)
        now = datetime.datetime.now(datetime.UTC)
        while True:
            path = self.root / f"{name}-{now:%Y%m%d-%H%M%S}"
            try:
                path.mkdir()
                break
            except FileExistsError:
                now += datetime.timedelta(seconds=1)
        started = now.isoformat(timespec="seconds")
        run = Run(id=path.name, name=name, source=source, options=tuple(options), pid=pid, started=started)
        folder = RunFolder(path, run)
        folder.change()
        return folder

    def all(self) -> list[RunFolder]:
        """Newest first. A folder that holds no run is passed over."""
        found = []
        for path in self.root.iterdir() if self.root.is_dir() else ():
            try:
                found.append(self._read(path))
            except DataError:
                continue
        return sorted(found, key=lambda folder: (folder.run.started, folder.run.id), reverse=True)

    def get(self, id: str) -> RunFolder:
        """Raises NotFound, naming those there are."""
        for folder in self.all():
            if folder.run.id == id:
                return folder
        raise NotFound("run", id, [folder.run.id for folder in self.all()])

    def unfinished(self, source: str) -> RunFolder:
        """The newest run of `source` that can be resumed. Raises NotFound where there is none."""
        able = [folder for folder in self.all() if folder.run.state in RESUMABLE]
        for folder in able:
            if folder.run.source == source:
                return folder
        raise NotFound("unfinished run of", source, [folder.run.source for folder in able], "Start one without --resume.")

    def _read(self, path: Path) -> RunFolder:
        try:
            run = Run.model_validate(read_json(path / "run.json"))
        except ValidationError as error:
            raise DataError(f"{path / 'run.json'} is not valid: {faults(error)}.") from None
        folder = RunFolder(path, run)
        if run.state == "running" and not folder.is_held():
            folder.run = run.model_copy(update={"state": "interrupted"})
        return folder
