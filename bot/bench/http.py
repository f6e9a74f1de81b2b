"""C12: the whole server, journal and all, around the engine that is measured directly too."""

from __future__ import annotations

import asyncio
import shutil
import statistics
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bot.bench.arms import Server
from bot.bench.rows import Row, alternate, at_most
from bot.bench.throughput import EIGHT, Stage
from bot.desk import Desk
from bot.settings import load
from bot.skeleton import SOURCE
from bot.web.app import listen, make_server


@asynccontextmanager
async def served(stage: Stage, folder: Path) -> AsyncIterator[Server]:
    """A server on loopback over the stage's engine and its first eight adapters."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(SOURCE, folder)
    for adapter in stage.adapters[:EIGHT]:
        shutil.copytree(adapter.path, folder / "adapters" / adapter.name / adapter.path.name)
    # Nothing that a variable of the environment names: these turns are nobody's.
    desk = Desk(load(workspace=folder, base=str(stage.base.path), engine="local", database="", chroma_url=""))
    await desk.knowledge.index(desk.settings.agent.knowledge)
    desk.engine = _Borrowed(stage)  # type: ignore[assignment]
    listening = listen("127.0.0.1", 0)
    server = make_server(desk)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not task.done():
        await asyncio.sleep(0.05)
    if task.done():
        await task
    client = Server(f"http://127.0.0.1:{listening.getsockname()[1]}/v1", stage.ours.tokens, desk.base.name)
    try:
        yield client
    finally:
        await client.close()
        server.should_exit = True
        await task


class _Borrowed:
    """The stage's engine, which the desk may not close."""

    def __init__(self, stage: Stage) -> None:
        self._engine = stage.ours.engine

    def __getattr__(self, name: str) -> object:
        return getattr(self._engine, name)

    async def close(self) -> None:
        """Whoever lent it closes it."""


async def layer(stage: Stage, server: Server, rounds: int) -> list[Row]:
    """Eight chats through the HTTP layer against the engine called directly."""
    arms = {"http": stage.server(server, list(range(EIGHT))), "direct": stage.our(stage.each)}
    found = await alternate(arms, rounds)
    lost = statistics.median(1 - a / b for a, b in zip(found["http"], found["direct"], strict=True))
    what = f"speed lost between the engine and a client of the server, median of {rounds} pairs"
    return [at_most("C12", what, lost, 0.05, "share", http=found["http"], direct=found["direct"])]
