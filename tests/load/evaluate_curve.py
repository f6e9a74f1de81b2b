"""E6: the learning curve on one domain, five sizes and three draws, against the best of the desk's prompts.

    python -m tests.load.evaluate_curve --out tests/load/results/evaluate.json

On a machine that does nothing else. Other rows of the file are kept; the curve itself lies beside it as
`curve.json`. Called again with the same `--keep` folder it goes on where it was broken off, and the seconds that were
spent in that folder before count too: give each measurement a folder of its own. `--recipe` takes another domain's recipe.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

from bot.bench.rows import Row, at_most
from bot.desk import Desk
from bot.evaluation.arms import KNOWLEDGE
from bot.evaluation.beats import Scores
from bot.evaluation.curve import Opponent, learning_curve
from bot.evaluation.curve_points import costs_of
from bot.evaluation.measured import REFERENCE_COST
from bot.evaluation.results import Curve
from bot.files import read_json, write_atomic
from bot.runs.progress import Progress, Quiet, progress_on_stderr
from bot.settings import load
from bot.training.prepared import Plan, plan, prepare
from bot.training.subset import bare_losses
from tests.load.keeping import circumstances, keep

ROOT = Path(__file__).parents[2]
SIZES, DRAWS, MOST = [10, 25, 50, 100, 150], 3, 45.0


def best_prompt(planned: Plan, desk: Desk, progress: Progress) -> tuple[Opponent, dict[str, float]]:
    """Of every prompt that the desk has, the newest version, with the recipe's knowledge, on the bare base: the one under which
    held-out replies cost least, and all of their costs. That it is chosen by what judges favours it."""
    found: dict[str, tuple[str, Scores]] = {}
    for name in desk.prompts.names():
        prompt = desk.prompts.get(f"{name}@{max(desk.prompts.versions(name))}")
        progress.note(f"{prompt.ref} on the bare base")
        recipe = planned.recipe.model_copy(update={"prompt": prompt.ref, "canaries": 0, "augment": 0})
        prepared = prepare(dataclasses.replace(planned, recipe=recipe, prompt=prompt), desk, Quiet())
        arm = prompt.prompt.technique + (KNOWLEDGE if recipe.knowledge else "")
        found[prompt.ref] = (arm, costs_of(bare_losses(desk.base, recipe, prepared.material.held_out)))
    best = min(found.values(), key=lambda told: told[1].mean)
    return Opponent(best[0], {REFERENCE_COST: best[1]}), {ref: round(scores.mean, 4) for ref, (_, scores) in found.items()}


def row_of(curve: Curve, minutes: float, costs: dict[str, float], prompt_minutes: float) -> Row:
    means: dict[str, float] = {}
    for size in sorted({point.transcripts for point in curve.points}):
        figures = [point.figures[REFERENCE_COST] for point in curve.points if point.transcripts == size]
        means[str(size)] = round(sum(figures) / len(figures), 4)
    return at_most(
        "E6", f"learning curve, {len(means)} sizes × {len(curve.points) // len(means)} draws", minutes, MOST, "minutes",
        nats_a_token=means, best_prompt=curve.prompt_arm, prompts=costs, beats_from=curve.beats_from[REFERENCE_COST],
        minutes_for_prompts=round(prompt_minutes, 2),
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--recipe", type=Path, default=ROOT / "adapters" / "returns" / "recipe.yaml")
    parser.add_argument("--keep", type=Path, default=ROOT / "var" / "curve", help="folder of the points")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    measured, started = circumstances("python -m tests.load.evaluate_curve"), time.perf_counter()
    spent = options.keep / "spent.json"
    before = read_json(spent)["seconds"] if spent.exists() else 0.0
    desk = Desk(load(workspace=options.recipe.resolve().parents[2], dtype="float32"))
    with progress_on_stderr() as progress:
        planned = plan(options.recipe, desk, options.set)
        opponent, costs = best_prompt(planned, desk, progress)
        prompt_minutes = (time.perf_counter() - started) / 60
        try:
            curve = learning_curve(planned, options.keep, desk, progress, options.sizes, options.draws, opponent)
        finally:
            seconds = before + time.perf_counter() - started
            write_atomic(spent, json.dumps({"seconds": seconds}) + "\n")
    row = row_of(curve, seconds / 60, costs, prompt_minutes)
    keep(options.out, [row], measured)
    write_atomic(options.out.with_name("curve.json"), curve.model_dump_json(indent=1) + "\n")


if __name__ == "__main__":
    main()
