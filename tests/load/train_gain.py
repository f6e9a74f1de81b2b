"""D4: what a LoRA gains over the best prompt on the bare base, on conversations that neither has seen."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import yaml

from bot.bench.rows import Row
from bot.runs.progress import Quiet
from bot.training import adapter as adapters
from bot.training import trainer
from bot.training.loss import row_losses
from bot.training.paired import difference, mean_loss
from tests.load.train_common import Bench, desk_of, prepared

CHATS, TRAINED = 5400, 2500
"""All of them by the hash of their ids: of the first 80 % so many are trained on, once; the next 10 % choose the prompt and
the best checkpoint, the last 10 % judge; of both tenths the first half."""
PROMPTS = yaml.safe_load(Path(__file__).with_name("train_prompts.yaml").read_text())


def measure(bench: Bench) -> list[Row]:
    tenth = CHATS // 10
    recipe = bench.workspace("gain", 0, TRAINED, held_out=0.01, learning_rate=0.002, scrub="false")
    desk = desk_of(recipe)
    given = prepared(recipe, desk)
    rows = {}
    for number, role in enumerate(PROMPTS):
        for part, first in (("dev", 8 * tenth), ("test", 9 * tenth)):
            other = bench.workspace(f"gain-{part}-{number}", first, tenth // 2, held_out=0.5, scrub="false")
            prompt = other.parents[2] / "prompts" / "support" / "v1.yaml"
            text = yaml.safe_load(prompt.read_text()) | {"role": role}
            prompt.write_text(yaml.safe_dump(text))
            material = prepared(other, desk_of(other)).material
            rows[part, number] = [*material.training, *material.held_out]
    model = adapters.attach(desk.base, given.plan.recipe)
    size = given.plan.recipe.batch_size
    with model.disable_adapter():
        dev = [mean_loss(row_losses(model, rows["dev", number], size)) for number in range(len(PROMPTS))]
        best = min(range(len(PROMPTS)), key=dev.__getitem__)
        base = row_losses(model, rows["test", best], size)
    with tempfile.TemporaryDirectory() as work:
        trainer.run(model, given.plan.recipe, given.material.training, rows["dev", 0][:100], Path(work), Quiet(), "float32")
    # The adapter's rows stand under the prompt that it was trained with, which is the first one.
    losses = row_losses(model, rows["test", 0], size)
    shared = {loss.conversation for loss in losses} & {loss.conversation for loss in base}
    ours, theirs = ([loss for loss in part if loss.conversation in shared] for part in (losses, base))
    found = difference(ours, theirs)
    fall = 1 - math.exp(mean_loss(ours) - mean_loss(theirs))
    detail = {
        "perplexity": round(math.exp(mean_loss(ours)), 3), "best_prompt": round(math.exp(mean_loss(theirs)), 3),
        "interval_of_the_loss": [round(found.low, 4), round(found.high, 4)], "conversations": len(shared),
        "prompts_on_dev": [round(math.exp(loss), 3) for loss in dev], "trained": given.plan.recipe.used(),
    }  # fmt: skip
    holds = fall >= 0.2 and found.high < 0
    return [Row("D4", "fall of perplexity below the best prompt's", round(fall, 4), "share", "≥ 0.2", holds, detail)]
