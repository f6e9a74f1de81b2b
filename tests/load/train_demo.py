"""D8: how long the demo's own training takes, from the command to a version that passed its gates."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time

from bot.bench.rows import Row, at_most
from tests.conftest import ROOT
from tests.load.train_common import Bench


def measure(bench: Bench) -> list[Row]:
    root = bench.folder / "demo"
    for part in ("adapters", "prompts", "knowledge"):
        shutil.copytree(ROOT / part, root / part)
    before = {path.name for path in (root / "adapters" / "returns").glob("v*")}
    start = time.perf_counter()
    command = [sys.executable, "-m", "bot", "train", str(root / "adapters" / "returns" / "recipe.yaml")]
    done = subprocess.run([*command, "--workspace", str(root)], capture_output=True, text=True, check=True)
    minutes = (time.perf_counter() - start) / 60
    made = {path.name for path in (root / "adapters" / "returns").glob("v*")} - before
    assert len(made) == 1
    assert "held-out perplexity" in done.stdout, done.stdout
    return [at_most("D8", "bot train adapters/returns/recipe.yaml", round(minutes, 2), 5, "minutes", made=sorted(made))]
