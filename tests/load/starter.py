"""The starter base's figures, B1 to B11, as one file: what `bot.starter evaluate` measures, the same with an adapter on, the
adapters' own perplexities, the readers' verdict on a newcomer's messages, and size, load and speed.

    python -m tests.load.starter --work W --data D      # on a machine that does nothing else; about half an hour
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from bot.starter.evaluate import evaluate
from tests.load.keeping import circumstances

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
MODEL = ROOT / "bot" / "starter" / "model"
DOMAINS = ("returns", "billing", "technical")
Row = dict[str, Any]


def row(identity: str, measure: str, value: float, unit: str, target: float, *, most: bool = False, **more: Any) -> Row:
    """`most`: the target is the most that is allowed, otherwise the least."""
    holds = value <= target if most else value >= target
    return {"id": identity, "measure": measure, "value": value, "unit": unit, "target": target, "most": most,
            "holds": holds, **more}  # fmt: skip


def mean_obedience(rows: Sequence[Row]) -> Row:
    """B4's mean over its six instructions."""
    values = [entry["value"] for entry in rows if entry["id"] == "B4"]
    mean = round(sum(values) / len(values), 3)
    return row("B4", "mean of the instructions", mean, "share", 0.9)


def newest(name: str, method: str) -> tuple[Path, dict[str, Any]]:
    """The newest version of an adapter's method, with its card."""
    cards = [(path.parent, yaml.safe_load(path.read_text())) for path in (ROOT / "adapters" / name).glob("v*/card.yaml")]
    return max(((folder, card) for folder, card in cards if card["method"] == method), key=lambda pair: pair[1]["version"])


def adapted(work: Path, data: Path, items: int, bare: Sequence[Row]) -> list[Row]:
    """B9: how far a LoRA lowers its domain's perplexity, and what is left of B1 with it on."""
    found = []
    before = {entry["measure"]: entry["value"] for entry in bare if "passage not named first" in entry["measure"]}
    for name in DOMAINS:
        folder, card = newest(name, "lora")
        figures = card["metrics"]
        base, tuned = figures["held_out_perplexity_base"], figures["held_out_perplexity"]
        fall = round(1 - tuned / base, 3)
        measure = f"{name}: fall of held-out perplexity, {base} to {tuned}"
        found.append(row("B9", measure, fall, "share", 0.6))
        after = evaluate(MODEL, work, data, items, ["B1 plain"], adapter=folder)["rows"]
        for entry in after:
            if entry["measure"] in before:
                drop = round(before[entry["measure"]] - entry["value"], 3)
                measure = f"{name}: fall of B1, {entry['measure']}"
                found.append(row("B9", measure, drop, "share", 0.05, most=True, n=entry["n"]))
    return found


def judged() -> Row:
    """B10: replies that make sense, as the file says that readers found."""
    path = RESULTS / "newcomer.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    if not rows or any("sense" not in entry for entry in rows):
        raise SystemExit(
            f"{path} holds no verdicts. Run python tests/load/answers.py tests/load/newcomer.yaml --out {path}, read it, and "
            'add "sense": true or false to every row.'
        )
    good = sum(entry["sense"] for entry in rows)
    return row("B10", "newcomer's messages whose reply makes sense", good, f"of {len(rows)}", 34)


def speed() -> list[Row]:
    """B11, through the engine that serves the desk."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from bot.base import open_base
    from bot.engine.local.engine import LocalEngine
    from bot.types import Message, Mix, Sampling

    torch.set_num_threads(2)
    start = time.perf_counter()
    AutoTokenizer.from_pretrained(MODEL), AutoModelForCausalLM.from_pretrained(MODEL)
    load = round(time.perf_counter() - start, 2)
    size = round(sum(path.stat().st_size for path in MODEL.iterdir()) / 1e6, 1)

    async def chat() -> float:
        engine = LocalEngine(open_base("starter", ROOT / "var" / "base-hashes.json"))
        messages = [Message("system", "You are Wren of Larkmoor. " * 30), Message("user", "How long does delivery take?")]
        best = 0.0
        for _ in range(4):
            first = 0.0
            async for piece in engine.stream(messages, Mix(), Sampling(max_tokens=200, ignore_eos=True), 0):
                first = first or time.perf_counter()
                last, usage = time.perf_counter(), piece.usage
            best = max(best, (usage.completion_tokens - 1) / (last - first) if usage else 0)
        await engine.close()
        return round(best, 1)

    rate = asyncio.run(chat())
    return [
        row("B11", "size of the folder", size, "MB", 40, most=True),
        row("B11", "load of model and tokenizer", load, "s", 3, most=True),
        row("B11", "one chat, two cores", rate, "tokens/s", 200),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--items", type=int, default=200)
    options = parser.parse_args()
    measured = circumstances("python -m tests.load.starter --work W --data D")
    read, quick = judged(), speed()
    bare = evaluate(MODEL, options.work, options.data, options.items)["rows"]
    rows = [*bare, mean_obedience(bare), *adapted(options.work, options.data, options.items, bare), read, *quick]
    found = measured | {"rows": rows}
    (RESULTS / "starter.json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    for entry in rows:
        if entry["target"] is not None:
            print("ok  " if entry["holds"] else "miss", entry["id"], entry["measure"], entry["value"], entry["unit"])


if __name__ == "__main__":
    main()
