"""Training: one loop for CPU and CUDA, that resumes by itself.

Contract: `train(settings, source, start)` goes on from the newest checkpoint in `settings.out`, or from `start()`
where there is none, until the token budget is used, the time is up, or SIGTERM comes; a checkpoint is written
then and every few minutes, atomically. The learning rate is constant and then falls linearly over the last part of
the token budget. An exponential average of the weights is kept: it is what is measured and exported.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bot.starter.model import HEADS, Shape, Starter
from bot.starter.muon import Muon
from bot.starter.packing import LENGTHS, Rows, Source, Stream, joined, some

_TOKENS_PER_LOOK = 8


@dataclass(frozen=True)
class Settings:
    """How a run goes. `tokens` sets the learning rate's fall; `stop_tokens` and `minutes` only end the process."""

    out: Path
    tokens: int
    stop_tokens: int = 10**15
    minutes: float = 1e9
    batch_tokens: int = 8192
    workers: int = 1
    threads: int = 2
    matrix_rate: float = 0.007
    embedding_rate: float = 0.006
    vector_rate: float = 3e-3
    warm_up: int = 30
    fall: float = 0.3
    look_share: float = 1.0
    """Weight of the shown heads' losses beside the loss of the next token."""
    average: float = 0.995
    save_minutes: float = 4.0
    compiled: bool = True
    device: str = "cpu"


@dataclass
class Progress:
    """Where a run stands."""

    tokens: int = 0
    step: int = 0
    chunk: int = 0


class Run:
    """A model with its optimizers, averages and place in the stream."""

    def __init__(self, model: Starter, settings: Settings) -> None:
        self.settings = settings
        self.model = model.to(settings.device)
        matrices = [p for layer in self.model.layers for p in layer.parameters() if p.ndim == 2]
        self.vectors = [p for p in self.model.parameters() if p.ndim == 1]
        self.muon = Muon(matrices, settings.matrix_rate)
        groups = [{"params": [self.model.embedding], "lr": settings.embedding_rate},
                  {"params": self.vectors, "lr": settings.vector_rate}]  # fmt: skip
        self.adam = torch.optim.AdamW(groups, betas=(0.9, 0.95), eps=1e-10, weight_decay=0.0)
        self.rates = [float(group["lr"]) for group in groups]  # type: ignore[arg-type]
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.progress = Progress()
        self.missed = torch.ones(len(HEADS), device=settings.device)
        """The shown heads' losses, smoothed."""
        self.forward: Any = torch.compile(self.model, dynamic=False) if settings.compiled else self.model
        self.losses: Any = torch.compile(self.model.losses, dynamic=True) if settings.compiled else self.model.losses

    def scale(self) -> float:
        """The learning rate's present share."""
        settings, done = self.settings, self.progress.tokens / self.settings.tokens
        falling = max(0.01, (1 - done) / settings.fall) if done > 1 - settings.fall else 1.0
        return min(1.0, (self.progress.step + 1) / settings.warm_up) * falling

    def step(self, batch: Rows) -> Tensor:
        """One update; gives the weighted loss."""
        ids, documents, where, targets, weights = tensors(batch, self.settings.device)
        looks, valid = look_tensors(batch, self.settings.device)
        hidden, missed = self.forward(ids, documents, looks)
        losses = self.losses(hidden, where, targets)
        loss: Tensor = (losses * weights).sum() / weights.sum()
        shown = (missed * valid).sum((1, 2)) / valid.sum((1, 2)).clamp(min=1)
        (loss + self.settings.look_share * shown.sum()).backward()
        self.missed = 0.98 * self.missed + 0.02 * shown.detach()
        torch.nn.utils.clip_grad_norm_([self.model.embedding, *self.vectors], 1.0)
        scale = self.scale()
        self.muon.step(scale)
        for group, rate in zip(self.adam.param_groups, self.rates, strict=True):
            group["lr"] = rate * scale
        self.adam.step()
        self.model.zero_grad(set_to_none=True)
        self.progress.step += 1
        self.progress.tokens += ids.numel()
        keep = min(self.settings.average, self.progress.step / (self.progress.step + 10))
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        return loss.detach()

    def save(self) -> None:
        """Write a checkpoint beside the old one, then put it in its place."""
        target = self.settings.out / "checkpoint.pt"
        state = {"shape": self.model.shape.as_dict(), "model": self.model.state_dict(), "average": self.average,
                 "muon": self.muon.state_dict(), "adam": self.adam.state_dict(),
                 "progress": vars(self.progress)}  # fmt: skip
        torch.save(state, target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)

    @classmethod
    def resume(cls, settings: Settings) -> Run | None:
        """The run that a checkpoint describes."""
        path = settings.out / "checkpoint.pt"
        if not path.exists():
            return None
        state = torch.load(path, map_location=settings.device, weights_only=True)
        model = Starter(Shape(**state["shape"]))
        model.load_state_dict(state["model"])
        run = cls(model, settings)
        run.muon.load_state_dict(state["muon"])
        run.adam.load_state_dict(state["adam"])
        run.average = state["average"]
        run.progress = Progress(**state["progress"])
        return run


def tensors(batch: Rows, device: str) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Ids, documents, and the flat places that teach, with targets and weights."""
    ids = torch.from_numpy(batch.ids).long()
    weights = torch.from_numpy(batch.weights).reshape(-1)
    where = weights.nonzero()[:, 0]
    targets = torch.roll(ids.reshape(-1), -1)[where]
    parts = (ids, torch.from_numpy(batch.documents).int(), where, targets, weights[where])
    return tuple(part.to(device, non_blocking=True) for part in parts)  # type: ignore[return-value]


def look_tensors(batch: Rows, device: str) -> tuple[Tensor, Tensor]:
    """Looks (rows, n, 4), with n fixed by the rows' length so that the compiled graph stays one; and (kinds, rows, n), 1
    where one counts. Looks beyond n are left out, at random."""
    count, length = batch.ids.shape
    room = length // _TOKENS_PER_LOOK
    looks, valid = np.zeros((count, room, 4), dtype=np.int64), np.zeros((len(HEADS), count, room), dtype=np.float32)
    used = [0] * count
    for row, *look in np.random.default_rng(len(batch.looks)).permutation(batch.looks):
        if used[row] < room:
            looks[row, used[row]] = look
            valid[look[0], row, used[row]] = 1
            used[row] += 1
    return torch.from_numpy(looks).to(device), torch.from_numpy(valid).to(device)


def batches(stream: Stream, run: Run) -> Iterator[Rows]:
    """Rows in batches of one size and length; the progress counts chunks as they are opened."""
    size = run.settings.batch_tokens
    waiting: dict[int, list[Rows]] = {length: [] for length in LENGTHS}
    for chunk in stream:
        run.progress.chunk += 1
        ready = []
        for rows in chunk:
            length = rows.ids.shape[1]
            rows, count = joined([*waiting[length], rows]), size // length
            places = np.arange(len(rows.ids))
            whole = len(rows.ids) // count * count
            ready += [some(rows, places[start : start + count]) for start in range(0, whole, count)]
            waiting[length] = [some(rows, places[whole:])]
        np.random.default_rng(run.progress.chunk).shuffle(ready)
        yield from ready


def train(settings: Settings, source: Source, start: Callable[[], Starter]) -> Run:
    """Train until the budget is used; print a line now and then."""
    settings.out.mkdir(parents=True, exist_ok=True)
    if settings.device == "cpu":
        torch.set_num_threads(settings.threads)
    run = Run.resume(settings) or Run(start(), settings)
    stream = Stream(source, settings.workers, run.progress.chunk)
    began = saved = shown = time.monotonic()
    first, since, smooth = run.progress.tokens, run.progress.tokens, 0.0
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    for batch in batches(stream, run):
        done = run.progress.tokens >= min(settings.tokens, settings.stop_tokens)
        if done or stopped.is_set() or minutes_since(began) > settings.minutes:
            break
        loss = float(run.step(batch))
        if run.progress.tokens - first < 3 * settings.batch_tokens:
            since, shown = run.progress.tokens, time.monotonic()
        smooth = 0.95 * smooth + 0.05 * loss if smooth else loss
        now = time.monotonic()
        if now - shown > 30:
            report(run, smooth, (run.progress.tokens - since) / (now - shown), now - began)
            since, shown = run.progress.tokens, now
        if minutes_since(saved) > settings.save_minutes:
            run.save()
            saved = now
    stream.close()
    run.save()
    return run


def minutes_since(moment: float) -> float:
    """Minutes gone by."""
    return (time.monotonic() - moment) / 60


def report(run: Run, loss: float, speed: float, seconds: float) -> None:
    """One line of progress, to the terminal and to a file."""
    left = (run.settings.tokens - run.progress.tokens) / max(speed, 1)
    row = {"step": run.progress.step, "tokens": run.progress.tokens, "loss": round(loss, 4),
           "tokens_per_s": round(speed), "minutes": round(seconds / 60, 1), "hours_left": round(left / 3600, 2),
           "rate": round(run.scale(), 3), "missed": [round(value, 3) for value in run.missed.tolist()]}  # fmt: skip
    print(" ".join(f"{name} {value}" for name, value in row.items()), flush=True)
    with (run.settings.out / "progress.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
