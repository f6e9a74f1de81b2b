"""E4: the table on real complaint chats, seven ways and what each of them costs and reaches, whichever wins.

    python -m tests.load.evaluate_cucom --data D --out tests/load/results/evaluate.json

`D` is a folder with `cucom_ecommerce.jsonl.gz`. A LoRA and a soft prompt are trained on nine tenths of some chats, and the
product's own evaluation does the rest on turns of the last tenth. These chats have no articles: the arms with knowledge are left
out. The few-shot prompt's examples are of the training part. The chats' texts stay out of what is kept. On a machine
that does nothing else.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import yaml

from bot.bench.rows import Row
from bot.desk import Desk
from bot.errors import BotError
from bot.evaluation.evaluate import evaluate
from bot.evaluation.options import Options
from bot.evaluation.results import Report
from bot.evaluation.rooms import exact
from bot.runs.progress import progress_on_stderr
from bot.settings import load
from bot.training.train import train
from tests.load.keeping import circumstances, keep
from tests.load.train import conversations
from tests.load.train_common import ROLE, Bench, examples

CHATS, TURNS, EXAMPLES = 1000, 200, 3
ARMS = ("base", "zero-shot", "few-shot", "chain-of-thought", "adapter", "prompt+adapter", "soft-prompt")
STEPS = " First think in one sentence between <think> and </think>: what the customer needs, what you can do. Then reply."
SCENARIO = {
    "title": "A complaint", "description": "Something about an order went wrong.", "openings": ["My parcel is late."],
    "agent": {"adapters": "shop", "prompt": "support@production"},
}  # fmt: skip


def prompts(recipe: Path, desk: Desk) -> None:
    """The few-shot and the chain-of-thought prompt beside the zero-shot one; examples are whole first exchanges."""
    root = recipe.parents[2] / "prompts"
    common = {"role": ROLE, "author": "Switchboard", "note": "For measuring.", "date": "2026-11-27"}
    for name, changes in {
        "examples": {"technique": "few-shot", "examples": examples(recipe, desk, EXAMPLES)},
        "steps": {"technique": "chain-of-thought", "role": ROLE + STEPS},
    }.items():
        (root / name).mkdir()
        (root / name / "v1.yaml").write_text(yaml.safe_dump(common | changes, allow_unicode=True), encoding="utf-8")
    (root / "scenarios").mkdir(exist_ok=True)
    (root / "scenarios" / "complaint.yaml").write_text(yaml.safe_dump(SCENARIO), encoding="utf-8")


def rows_of(report: Report) -> list[Row]:
    """A row for each measure, every arm with its interval, then the verdict."""
    found = []
    for measure in report.measures:
        figures = {f.arm: [round(v, 4) for v in (f.mean, f.low, f.high) if v is not None] for f in measure.figures}
        best = (max if measure.better == "higher" else min)(measure.figures, key=lambda f: f.mean, default=None)
        value = round(best.mean, 4) if best else None
        ties = [pair.arm for pair in measure.comparisons if best and pair.other == best.arm and pair.verdict == "tie"]
        detail = {"best": best.arm if best else "", "ties_with_it": ties, "arms": figures}
        found.append(Row("E4", measure.name, value, measure.unit, detail=detail))
    costs = {
        cost.arm: {
            "prompt_tokens": round(cost.prompt_tokens), "reply_tokens": round(cost.reply_tokens),
            "training_seconds": round(cost.training_seconds), "adapter_bytes": cost.adapter_bytes,
            "first_token_ms": round(cost.first_token_ms), "tokens_per_second": round(cost.tokens_per_second, 1),
        }
        for cost in report.costs
    }  # fmt: skip
    failed = {arm.name: arm.failure for arm in report.arms if arm.failure}
    said = {"verdict": report.advice.headline, "reasons": list(report.advice.reasons), "costs": costs, "failed": failed}
    conversations, turns = report.held_out
    return [*found, Row("E4", "held-out turns", turns, "turns", detail={"conversations": conversations, **said})]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--chats", type=int, default=CHATS)
    parser.add_argument("--turns", type=int, default=TURNS, help="held-out turns that every arm answers")
    options = parser.parse_args()
    measured = circumstances(f"python -m tests.load.evaluate_cucom --chats {options.chats} --turns {options.turns}")
    with tempfile.TemporaryDirectory() as folder, progress_on_stderr() as progress:
        chats = Path(folder) / "chats.jsonl"
        conversations(options.data / "cucom_ecommerce.jsonl.gz", chats)
        recipe = Bench(Path(folder), chats).workspace("desk", 0, options.chats, held_out=0.1, knowledge='""', scrub="false")
        desk = Desk(exact(load(workspace=recipe.parents[2])))
        prompts(recipe, desk)
        for given in ([], ["method=soft-prompt", "learning_rate=0.5"]):
            try:
                train(recipe, desk, given, progress)
            except BotError as error:
                # Its arm is reported as failed then.
                progress.note(str(error))
        named = ("zero-shot=support@1", "few-shot=examples@1", "chain-of-thought=steps@1")
        report, _ = evaluate(Options(scenario="shop", arms=ARMS, prompt=named, limit=options.turns), desk, progress)
    keep(options.out, rows_of(report), measured)


if __name__ == "__main__":
    main()
