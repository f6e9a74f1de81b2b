"""A training run on disk: `var/training/<id>/` with run.json (what it was started with, how it stands), events.jsonl (what
it said, a line a step), tensorboard/ and checkpoints/.

A run that a process works on holds its lock; the system lets go of it however that process ends. So a run that says
"running" and is not locked was interrupted, and can be resumed. Knows nothing of models.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from bot.errors import DataError, NotFound, TrainingError, faults
from bot.files import read_json, write_atomic
from bot.training.progress import Progress, Step

State = Literal["running", "interrupted", "cancelled", "failed", "done"]
RESUMABLE = ("interrupted", "cancelled")
_CURVES = ("loss", "held_out", "tokens_per_second")


class Run(BaseModel):
    """`inputs` are hashes of all that the result depends on, none until they are known. `pid` is that of the process that
    works on it, `message` how it ended, `version` what it made."""

    model_config = ConfigDict(extra="forbid")

    id: str
    adapter: str
    recipe: str
    overrides: tuple[str, ...] = ()
    inputs: dict[str, str] = {}
    state: State = "running"
    pid: int
    started: str
    message: str = ""
    version: str = ""


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

    @contextmanager
    def held(self) -> Iterator[None]:
        """Work on it. Raises TrainingError while another process does."""
        try:
            # Whoever looks whether it is held has the lock for a moment.
            self._lock.acquire(timeout=1)
        except Timeout:
            raise TrainingError(f"Run {self.run.id} is being worked on by process {self.run.pid}.", "Wait for it.") from None
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
    """The runs of one workspace, by its `var` folder."""

    def __init__(self, var: Path) -> None:
        self.root = var / "training"

    def start(self, adapter: str, recipe: str, overrides: Sequence[str], pid: int) -> RunFolder:
        """A new run of `recipe`, a path as the workspace writes it."""
        self.root.mkdir(parents=True, exist_ok=True)
        now = datetime.datetime.now(datetime.UTC)
        while True:
            path = self.root / f"{adapter}-{now:%Y%m%d-%H%M%S}"
            try:
                path.mkdir()
                break
            except FileExistsError:
                now += datetime.timedelta(seconds=1)
        run = Run(
            id=path.name, adapter=adapter, recipe=recipe, overrides=tuple(overrides), pid=pid,
            started=now.isoformat(timespec="seconds"),
        )  # fmt: skip
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

    def unfinished(self, recipe: str) -> RunFolder:
        """The newest run of `recipe` that can be resumed. Raises NotFound where there is none."""
        able = [folder for folder in self.all() if folder.run.state in RESUMABLE]
        for folder in able:
            if folder.run.recipe == recipe:
                return folder
        raise NotFound("unfinished run of", recipe, [folder.run.recipe for folder in able], "Start one without --resume.")

    def _read(self, path: Path) -> RunFolder:
        try:
            run = Run.model_validate(read_json(path / "run.json"))
        except ValidationError as error:
            raise DataError(f"{path / 'run.json'} is not valid: {faults(error)}.") from None
        folder = RunFolder(path, run)
        if run.state == "running" and not folder.is_held():
            folder.run = run.model_copy(update={"state": "interrupted"})
        return folder


class RunLog:
    """Writes what a run says into its folder, for the workshop page and for TensorBoard, and passes it on."""

    def __init__(self, folder: RunFolder, to: Progress) -> None:
        from tensorboardX import SummaryWriter

        self._to = to
        self._events = (folder.path / "events.jsonl").open("a", encoding="utf-8", buffering=1)
        self._curves = SummaryWriter(str(folder.path / "tensorboard"))

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
        self._curves.close()

    def _write(self, event: dict[str, Any]) -> None:
        self._events.write(json.dumps({"at": round(time.time(), 2), **event}, ensure_ascii=False) + "\n")
