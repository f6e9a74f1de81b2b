"""One point of a learning curve: an adapter trained on some of the transcripts, and what held-out replies cost under it.

The recipe's settings are for all the transcripts there are; what fewer of them need is in `scaled`. Held-out conversations
judge and do nothing else: those that choose the best checkpoint are some of the subset's own. No version is made. Rows are
rendered once, for all points.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bot.adapters.verify import WEIGHTS
from bot.base import Base
from bot.errors import DataError
from bot.files import sha256_file
from bot.runs.progress import Progress
from bot.training import adapter as adapters
from bot.training import trainer
from bot.training.dataset import Row
from bot.training.draws import parted
from bot.training.loss import row_losses
from bot.training.material import Material
from bot.training.memory import check_fits
from bot.training.paired import RowLoss
from bot.training.recipe import Recipe
from bot.training.transcripts import Conversation
from bot.types import Adapter, content_hash


@dataclass(frozen=True)
class Subset:
    """`transcripts` conversations, the first ones of a draw's order: rows that are trained on, rows that choose the best
    checkpoint, under the recipe for as many of them."""

    transcripts: int
    draw: int
    recipe: Recipe
    training: list[Row]
    choosing: list[Row]


def usable(material: Material) -> list[Conversation]:
    """The conversations there are to train on: not held out, and with a reply that is not too long."""
    known = {row.conversation for row in material.training} - {row.conversation for row in material.held_out}
    return [conversation for conversation in material.transcripts.conversations if conversation.id in known]


def subset(material: Material, recipe: Recipe, order: Sequence[str], transcripts: int, draw: int) -> Subset:
    """The first `transcripts` of `order`. The same share of them chooses the checkpoint as the recipe holds out; copies that
    the recipe makes of a conversation stand on its side or, of one that chooses, on none. Raises DataError for a number that
    is not 2 … len(order)."""
    if not 2 <= transcripts <= len(order):
        raise DataError(
            f"{transcripts} transcripts cannot be taken: there are {len(order)} to train on.", f"Take 2 to {len(order)}."
        )
    trained, chooses = parted(order[:transcripts], recipe.held_out)
    names = {*trained, *(f"{name}+{copy}" for name in trained for copy in range(1, recipe.augment + 1))}
    choosing = set(chooses)
    return Subset(
        transcripts,
        draw,
        scaled(recipe, transcripts, len(order)).model_copy(update={"seed": (recipe.seed + draw) % 2**32}),
        [row for row in material.training if row.conversation in names - choosing],
        [row for row in material.training if row.conversation in choosing],
    )


def scaled(recipe: Recipe, transcripts: int, all_there_are: int) -> Recipe:
    """The recipe for fewer transcripts: √(all / some) times as many epochs, and as many times the patience.

    With the same epochs a tenth of the transcripts would get a tenth of the steps, too few to learn anything from; with the
    same steps each of them would be read ten times as often. Between the two, early stopping finds the place.
    """
    factor = math.sqrt(all_there_are / transcripts)
    epochs, patience = (min(1000, math.ceil(value * factor)) for value in (recipe.epochs, recipe.patience))
    return recipe.model_copy(update={"epochs": epochs, "patience": patience})


def key(subset: Subset, held_out: Iterable[Row], base: Base, dtype: str) -> str:
    """Hash of all that the point's figures depend on. Rows stand in it as tokens, and with them transcripts, prompt,
    passages and tokenizer."""
    threads = str(torch.get_num_threads())
    rows = (_rows_hash(part) for part in (subset.training, subset.choosing, held_out))
    return content_hash(subset.recipe.model_dump_json(), base.hash, dtype, threads, *rows)


def _rows_hash(rows: Iterable[Row]) -> str:
    return content_hash(*(repr((row.conversation, row.ids, row.mask)) for row in rows))


def trained(subset: Subset, base: Base, dtype: str, work: Path, progress: Progress) -> Any:
    """A fresh adapter trained on the subset, at its best → PeftModel. `work` takes checkpoints. Raises TrainingError for a
    run that would not fit into memory."""
    model = adapters.attach(base, subset.recipe)
    check_fits(model, subset.training, subset.recipe.batch_size)
    trainer.run(model, subset.recipe, subset.training, subset.choosing, work, progress, dtype)
    return model


def bare_losses(base: Base, recipe: Recipe, rows: Sequence[Row]) -> list[RowLoss]:
    """What the rows cost without an adapter, read as with one."""
    model = adapters.attach(base, recipe)
    with model.disable_adapter():
        return row_losses(model, rows, recipe.batch_size)


def written(model: Any, name: str, recipe: Recipe, base: Base, folder: Path) -> Adapter:
    """The trained adapter as a plain PEFT folder that an engine reads, a version of nothing. Raises TrainingError for
    weights that are not finite."""
    folder.mkdir(parents=True)
    adapters.save(model, folder, base.path.name)
    virtual_tokens = recipe.virtual_tokens if recipe.method == "soft-prompt" else 0
    return Adapter(name, 0, folder, sha256_file(folder / WEIGHTS), recipe.method, virtual_tokens)
