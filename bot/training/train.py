"""`bot train`: the one place where the order of a training run is written.

Read the recipe, make rows, train, measure against the base, and only then make a version. A run that fails leaves
nothing behind. It is handed its rooms and builds none.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.blocking import wait_for
from bot.errors import DataError, TrainingError
from bot.prompts.library import PromptVersion
from bot.refs import check_name
from bot.training.facts import counted, draft_card, judged
from bot.training.model_card import model_card
from bot.training.progress import Progress, Quiet, Step
from bot.training.recipe import Recipe, read_recipe
from bot.training.result import Sample, TrainedVersion
from bot.training.rooms import Rooms
from bot.training.version import publish

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bot.training.dataset import Row

SAMPLES = 3
SOFT = "-soft"


def train(recipe_path: Path, desk: Rooms, overrides: Sequence[str] = (), progress: Progress | None = None) -> TrainedVersion:
    """The next version of the adapter that `recipe_path` makes.

    `overrides` are like "epochs=2". Raises DataError for a recipe or transcripts that cannot be used, TrainingError for
    a result that is not finite or no better than the base; no version is made then.
    """
    progress = progress or Quiet()
    started = time.perf_counter()
    recipe = read_recipe(recipe_path, overrides)
    name = adapter_name(recipe_path, recipe)
    if recipe.method == "classifier":
        from bot.training.classifier import train_classifier

        return train_classifier(name, recipe_path, recipe, desk, progress)
    prompt = desk.prompts.get(recipe.prompt)

    # After what is quickly checked: torch takes seconds to import.
    from bot.training import adapter as adapters
    from bot.training import trainer
    from bot.training.material import gather

    tokenizer = _prepare(desk, recipe)
    material = wait_for(lambda: gather(recipe_path.parent / recipe.data, recipe, prompt, desk, tokenizer, progress))
    model = adapters.attach(desk.base, recipe)
    work = desk.settings.var / "training"
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix=f"{name}-") as folder:
        ran = trainer.run(model, recipe, material.training, material.held_out, Path(folder), progress, desk.settings.dtype)
    after = trainer.held_out_loss(model, material.held_out, recipe.batch_size)
    with model.disable_adapter():
        before = trainer.held_out_loss(model, material.held_out, recipe.batch_size)
    check_better(before, after)
    samples = _samples(model, tokenizer, material.held_out, prompt, progress)
    metrics = {
        **judged(before, after),
        **counted(material),
        **ran,
        "seconds": round(time.perf_counter() - started, 1),
    }
    draft = draft_card(name, desk.base, recipe, prompt, material, metrics)
    adapter, card = publish(
        desk.settings.workspace / "adapters" / name,
        desk.base,
        draft,
        lambda folder: adapters.save(model, folder, draft.base),
        lambda card: model_card(card, samples),
    )
    return TrainedVersion(adapter, card, samples, material.transcripts.bad)


def adapter_name(recipe_path: Path, recipe: Recipe) -> str:
    """The folder's name. A soft prompt or a classifier beside a LoRA of the same transcripts is another adapter:
    `returns-soft`, which can be mixed with it, or `returns-intent`."""
    name = recipe_path.resolve().parent.name
    if recipe.method != "lora":
        suffix = SOFT if recipe.method == "soft-prompt" else f"-{recipe.task}"
        name = name.removesuffix(suffix) + suffix
    return check_name("adapter", name)


def check_better(before: float, after: float) -> None:
    """The gate. Raises TrainingError unless `after`, the adapter's held-out loss, is finite and below the base's."""
    if not math.isfinite(after):
        raise TrainingError(f"The adapter's held-out loss is {after}.", "Train with a lower learning_rate.")
    if after >= before:
        raise TrainingError(
            f"The adapter is no better than the base: held-out loss {after:.4f} against {before:.4f}. No version was made.",
            "Check that the transcripts belong together, change learning_rate or epochs, or add transcripts.",
        )


def _prepare(desk: Rooms, recipe: Recipe) -> PreTrainedTokenizerBase:
    """The base's tokenizer, once the recipe is known to fit the base."""
    import torch
    from transformers import logging

    from bot.engine.local.model import load_tokenizer

    logging.disable_progress_bar()
    if desk.settings.threads:
        torch.set_num_threads(desk.settings.threads)
    context = desk.base.config.get("max_position_embeddings")
    if isinstance(context, int) and recipe.max_tokens > context:
        raise DataError(
            f"max_tokens is {recipe.max_tokens:,}; the base {desk.base.name!r} reads {context:,}.", "Set it to that or less."
        )
    return load_tokenizer(desk.base)


def _samples(
    model: Any, tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row], prompt: PromptVersion, progress: Progress
) -> tuple[Sample, ...]:
    """Held-out questions spread over the rows, answered without and with the adapter."""
    from bot.training.adapter import reply
    from bot.types import Sampling

    chosen = [rows[number * len(rows) // SAMPLES] for number in range(min(SAMPLES, len(rows)))]
    most = prompt.prompt.decoding.max_tokens or Sampling().max_tokens
    samples = []
    for row in chosen:
        with model.disable_adapter():
            base = reply(model, tokenizer, row.messages, most)
        adapter = reply(model, tokenizer, row.messages, most)
        samples.append(Sample(row.question, base, adapter, row.reply))
        progress.step(Step("before and after", len(samples), len(chosen)))
    return tuple(samples)
