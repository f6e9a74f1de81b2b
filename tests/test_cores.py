"""Who computes on several cores: the model's thread, and nobody beside it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import torch

from bot.base import Base
from bot.engine.local.engine import LocalEngine
from bot.knowledge.embedding import SentenceEmbedder

SCRIPT = """
import threading
import torch
from bot.cores import ALL, compute_here, make_way

def others():
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]

make_way()
assert torch.get_num_threads() == others() == ALL
assert compute_here(3) == torch.get_num_threads() == 3
assert others() == 1
told = []
for threads in (2, 0):
    thread = threading.Thread(target=lambda: told.append((compute_here(threads), torch.ones(9).sum(), torch.get_num_threads())))
    thread.start()
    thread.join()
assert [(said, there) for said, _, there in told] == [(2, 2), (ALL, ALL)], told
assert torch.get_num_threads() == 3
assert compute_here() == ALL
make_way()
assert torch.get_num_threads() == 1
"""


def test_others_compute_as_torch_would_until_somebody_takes_all() -> None:
    # In a process of its own: what threads to come are given is the process's.
    subprocess.run(
        [sys.executable, "-c", SCRIPT],
        check=True,
        env={name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"},
    )


async def test_the_models_thread_alone_computes_on_several(tiny_base: Base) -> None:
    engine, embedder = LocalEngine(tiny_base, "float32", threads=3), SentenceEmbedder()
    assert "on 3 threads of the CPU" in await engine.load()
    await embedder.embed(["hello"])
    assert await engine.run(torch.get_num_threads) == 3
    assert await asyncio.get_running_loop().run_in_executor(embedder._thread, torch.get_num_threads) == 1
    with ThreadPoolExecutor(1) as beside:
        assert beside.submit(torch.get_num_threads).result() == 1
    await engine.close()
    embedder.close()
