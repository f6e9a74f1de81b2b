"""The whole report of `bot bench serve`: sets the stage, runs the rows in order, writes JSON and a plot.

Contract: everything is measured in one run on one machine, side by side; the load average before and after is written down.
Peers' servers are started by whoever runs this (tests/load/README.md says how); without one its rows stay empty.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bot.base import Base
from bot.bench import http, latency, throughput
from bot.bench.arms import Ours, Peft, Server
from bot.bench.chats import TOKENS, Chats
from bot.bench.exact import exactness
from bot.bench.plot import draw
from bot.bench.rows import Row
from bot.bench.shape import SMOL_135M, make_adapters, make_base
from bot.bench.throughput import Stage
from bot.engine.local.engine import LocalEngine
from bot.types import Adapter

MIXED_RANKS = [4, 8, 16, 32, 64]


@dataclass(frozen=True)
class Plan:
    """What to run. `shape` and counts are smaller in tests alone."""

    work: Path
    rounds: int = 3
    dtype: str = "bfloat16"
    threads: int = 2
    seed: int = 1
    resident: int = 100
    tokens: int = TOKENS
    compared: int = 60
    pairs: int = 10
    vllm: str = ""
    llama: str = ""
    shape: dict[str, Any] | None = None


async def run(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """The report as plain data. `say` is told of every row as it is there."""
    import torch

    torch.set_num_threads(plan.threads)
    before = os.getloadavg()[0]
    rows: list[Row] = []

    def add(found: list[Row]) -> None:
        for row in found:
            say(line(row))
        rows.extend(found)

    base = _base(plan)
    add(await exactness(base, _adapters(plan, base), Chats(plan.seed), plan.compared))
    async with _stage(plan, base, say) as stage:
        eight = await throughput.eight_adapters(stage)
        add(eight)
        rate = statistics.median(eight[0].detail["ours"])
        add(await throughput.against_base(stage))
        add(await throughput.one_chat(stage))
        add(await latency.prefixes(stage))
        add(await throughput.many_adapters(stage))
        add(await latency.arrivals(stage, rate))
        mixed = make_adapters(base, plan.work / "mixed", MIXED_RANKS, first=1000)
        add(await latency.memory(stage, mixed))
        add(await latency.loading(stage, make_adapters(base, plan.work / "fresh", [16], first=2000)[0]))
        add(await latency.disconnects(stage))
        async with http.served(stage, base.path, plan.work / "workspace") as server:
            add(await http.layer(stage, server, plan.pairs))
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": "bot bench serve",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {_processor()}",
        "dtype": plan.dtype, "threads": plan.threads, "rounds": plan.rounds,
        "load_before": before, "load_after": os.getloadavg()[0],
        "rows": [row.as_dict() for row in rows],
    }  # fmt: skip


def _base(plan: Plan) -> Base:
    plan.work.mkdir(parents=True, exist_ok=True)
    return make_base(plan.work / "base", plan.shape or SMOL_135M)


def _adapters(plan: Plan, base: Base) -> list[Adapter]:
    return make_adapters(base, plan.work / "adapters", [16] * plan.resident)


@asynccontextmanager
async def _stage(plan: Plan, base: Base, say: Callable[[str], None]) -> AsyncIterator[Stage]:
    adapters = _adapters(plan, base)
    engine = LocalEngine(base, plan.dtype, max_queue=1000)
    say(await engine.load())
    servers = {
        "vllm": Server(plan.vllm, plan.tokens, str(base.path)) if plan.vllm else None,
        "llama": Server(plan.llama, plan.tokens, llama=True) if plan.llama else None,
    }
    peft = Peft(base, adapters[: throughput.EIGHT], plan.dtype, plan.tokens)
    try:
        yield Stage(Ours(engine, plan.tokens), peft, adapters, Chats(plan.seed), plan.rounds, **servers)
    finally:
        await engine.close()
        for server in servers.values():
            if server:
                await server.close()


def _processor() -> str:
    names = [row.partition(":")[2].strip() for row in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in row]
    return names[0] if names else platform.processor()


def line(row: Row) -> str:
    """A row for a person at a terminal."""
    mark = {True: "ok  ", False: "miss", None: "    "}[row.holds]
    value = "not measured" if row.value is None else f"{row.value:g} {row.unit}"
    return f"{mark} {row.id}  {row.measure}: {value}" + (f" ({row.target})" if row.target else "")


def write(report: dict[str, Any], path: Path) -> None:
    """The report as JSON, and its ratios as a picture beside it."""
    made = path.with_name(f".new-{path.name}")
    made.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    made.replace(path)
    draw(report, path.with_suffix(".svg"))
