"""D4: what a LoRA gains over the best prompt on the bare base, on conversations that no prompt and no adapter has met.

The starter itself has read nine tenths of this collection while it was made, under both alike; what it never read is told apart.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from bot.bench.rows import Row
from bot.runs.progress import Quiet
from bot.starter.wordings import stable_hash
from bot.training import adapter as adapters
from bot.training import trainer
from bot.training.loss import row_losses
from bot.training.overlap import overlapping, said
from bot.training.paired import RowLoss, difference, mean_loss
from tests.load.train_common import Bench, desk_of, examples, prepared

CHATS, TRAINED, EXAMPLES = 5400, 2500, 3
"""All of them by the hash of their ids: of the first 80 % so many are trained on, once; half of the next 10 % chooses the prompt
and the best checkpoint; the second half of the last 10 % judges, whose first half has been looked at while this was made."""
PROMPTS = yaml.safe_load(Path(__file__).with_name("train_prompts.yaml").read_text())


def measure(bench: Bench) -> list[Row]:
    tenth = CHATS // 10
    recipe = bench.workspace("gain", 0, TRAINED, held_out=0.01, learning_rate=0.002, scrub="false")
    desk = desk_of(recipe)
    given = prepared(recipe, desk)
    prompts = [{"role": role} for role in PROMPTS]
    prompts.append({"role": PROMPTS[0], "technique": "few-shot", "examples": examples(recipe, desk, EXAMPLES)})
    rows = {}
    for number, changes in enumerate(prompts):
        for part, first in (("dev", 8 * tenth), ("test", 9 * tenth + tenth // 2)):
            other = bench.workspace(f"gain-{part}-{number}", first, tenth // 2, held_out=0.5, scrub="false")
            prompt = other.parents[2] / "prompts" / "support" / "v1.yaml"
            prompt.write_text(yaml.safe_dump(yaml.safe_load(prompt.read_text()) | changes, allow_unicode=True))
            material = prepared(other, desk_of(other)).material
            rows[part, number] = [*material.training, *material.held_out]
    model = adapters.attach(desk.base, given.plan.recipe)
    size = given.plan.recipe.batch_size
    with model.disable_adapter():
        dev = [mean_loss(row_losses(model, rows["dev", number], size)) for number in range(len(prompts))]
        best = min(range(len(prompts)), key=dev.__getitem__)
        base = row_losses(model, rows["test", best], size)
    with tempfile.TemporaryDirectory() as work:
        trainer.run(model, given.plan.recipe, given.material.training, rows["dev", 0][:100], Path(work), Quiet(), "float32")
    # The adapter's rows stand under the prompt that it was trained with, which is the first one.
    losses = row_losses(model, rows["test", 0], size)
    test = rows["test", 0]
    names = [row.conversation for row in test for _ in row.exchanges]
    copied = {names[place] for place in overlapping(said(test), said(given.material.training))}
    shared = {loss.conversation for loss in losses} & {loss.conversation for loss in base} - copied
    unread = {name for name in shared if not stable_hash(name) % 10}
    found = difference(*_of(shared, losses, base))
    detail = {
        "perplexity": _perplexity(shared, losses), "best_prompt": _perplexity(shared, base),
        "best": "few-shot" if best == len(PROMPTS) else f"role {best + 1}",
        "interval_of_the_loss": [round(found.low, 4), round(found.high, 4)], "conversations": len(shared),
        "left_out_as_near_copies": len(copied), "prompts_on_dev": [round(math.exp(loss), 3) for loss in dev],
        "never_read_by_the_base": {"conversations": len(unread), "fall": _fall(unread, losses, base)},
        "trained": given.plan.recipe.used(),
    }  # fmt: skip
    fall = _fall(shared, losses, base)
    holds = fall is not None and fall >= 0.2 and found.high < 0
    return [Row("D4", "fall of perplexity below the best prompt's", fall, "share", "≥ 0.2", holds, detail)]


def _of(names: set[str], *parts: Sequence[RowLoss]) -> list[list[RowLoss]]:
    return [[loss for loss in part if loss.conversation in names] for part in parts]


def _perplexity(names: set[str], losses: Sequence[RowLoss]) -> float:
    return round(math.exp(mean_loss(_of(names, losses)[0])), 3)


def _fall(names: set[str], ours: Sequence[RowLoss], theirs: Sequence[RowLoss]) -> float | None:
    """None without conversations."""
    if not names:
        return None
    mine, other = _of(names, ours, theirs)
    return round(1 - math.exp(mean_loss(mine) - mean_loss(other)), 4)
