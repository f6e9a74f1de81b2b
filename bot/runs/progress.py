"""What a run says while it works: steps with figures, and remarks. A bar on stderr, or silence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Step:
    """`done` of `total` in a stage ("reading", "training"). Losses are nats a token; rates count every token read."""

    stage: str
    done: int
    total: int
    loss: float | None = None
    held_out: float | None = None
    tokens_per_second: float | None = None


class Progress(Protocol):
    def step(self, step: Step) -> None: ...

    def note(self, text: str) -> None:
        """A remark, such as a bad row."""
        ...


class Quiet:
    """Says nothing."""

    def step(self, step: Step) -> None:
        pass

    def note(self, text: str) -> None:
        pass


class _Bar:
    def __init__(self, progress: Any) -> None:
        self._progress = progress
        self._tasks: dict[str, Any] = {}

    def step(self, step: Step) -> None:
        # Started by what there is to show: a run that is refused at once prints its reason and nothing else.
        self._progress.start()
        if step.stage not in self._tasks:
            self._tasks[step.stage] = self._progress.add_task(step.stage, total=step.total, figures="")
        figures = [
            f"{name} {value:{form}}"
            for name, value, form in (
                ("loss", step.loss, ".3f"),
                ("held-out", step.held_out, ".3f"),
                ("tokens/s", step.tokens_per_second, ",.0f"),
            )
            if value is not None
        ]
        self._progress.update(self._tasks[step.stage], completed=step.done, total=step.total, figures="  ".join(figures))

    def note(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)


@contextmanager
def progress_on_stderr() -> Iterator[Progress]:
    """A bar with loss, held-out loss, tokens a second and time left; remarks stand above it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as RichProgress

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    progress = RichProgress(*columns, console=Console(stderr=True))
    try:
        yield _Bar(progress)
    finally:
        if progress.tasks:
            progress.stop()
