"""What a run is told to take is what its process grows by: never less, and not much more."""

from __future__ import annotations

import multiprocessing
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from bot.base import Base, open_base
from bot.runs.progress import Quiet
from bot.training import adapter as adapters
from bot.training.memory import needed
from bot.training.recipe import Recipe
from bot.training.trainer import run
from tests.training.test_trainer import make_row

LORA = Recipe(
    prompt="support@1", targets=["q_proj", "v_proj", "down_proj"], rank=4, epochs=1, learning_rate=1e-3, batch_size=8
)
SOFT = Recipe(method="soft-prompt", prompt="support@1", virtual_tokens=5, epochs=1, batch_size=8)


def resident(key: str) -> int:
    """Bytes that this process has in memory (VmRSS), or had at most (VmHWM)."""
    found = re.search(rf"^{key}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024


def grown(base: str, recipe: Recipe, said: int) -> tuple[int, int]:
    """For a process of its own: the estimate, and how far its peak went beyond what it had before it trained."""
    model = adapters.attach(open_base(base), recipe)
    rows = [make_row(256, said, number) for number in range(8)]
    short = [make_row(8, 2, number) for number in range(8)]
    estimate = needed(model, rows, recipe.batch_size)
    with tempfile.TemporaryDirectory() as folder:
        # What is loaded and taken once by whoever trains.
        run(model, recipe, short, short, Path(folder) / "short", Quiet(), "float32")
        before, peak = resident("VmRSS"), resident("VmHWM")
        run(model, recipe, rows, short, Path(folder) / "long", Quiet(), "float32")
    assert resident("VmHWM") > peak, "the peak is an older one"
    return estimate, resident("VmHWM") - before


@pytest.mark.parametrize(("recipe", "said"), [(LORA, 64), (SOFT, 250)], ids=["lora", "soft-prompt"])
def test_a_run_grows_by_less_than_it_tells_and_by_a_third_of_it_at_least(
    recipe: Recipe, said: int, make_base: Callable[..., Base]
) -> None:
    """Over ten runs of five shapes the estimate was 1.1 to 1.75 times the growth, nearest where nearly all is said."""
    base = make_base(hidden_size=128, intermediate_size=384, num_hidden_layers=4)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:
        estimate, growth = apart.submit(grown, str(base.path), recipe, said).result()
    assert growth <= estimate <= 3 * growth
