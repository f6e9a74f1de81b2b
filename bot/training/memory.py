"""Will a run fit into memory? Answered before it starts, from what one short row makes autograd keep.

What is kept grows with the tokens of a batch, and attention here keeps nothing that grows with their square. So two short
rows tell what a token takes, on any model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bot.engine.local.model import choose_device
from bot.errors import TrainingError
from bot.training.dataset import Row
from bot.training.loss import collate, features, supervised_loss

GIB = 1 << 30
_SHORT, _LONG = 32, 96
_WORKING = 2.5
"""Times what is kept: gradients under way, buffers of products, and what the allocator does not give back. On the starter
the process grew by 2.0 to 2.3 times what is kept, on a smaller model by 1.4 to 2.3: most where nearly all is said."""


def needed(model: Any, rows: Sequence[Row], batch_size: int) -> int:
    """Bytes that a step takes at its peak, beside the model's own weights. Estimated, not tried."""
    longest = sorted(rows, key=lambda row: len(row.ids))[-batch_size:]
    tokens = len(longest) * len(longest[-1].ids)
    said = sum(sum(row.mask) for row in longest)
    per_token = (_kept(model, _LONG, 1) - _kept(model, _SHORT, 1)) / (_LONG - _SHORT)
    per_said = (_kept(model, _LONG, _SHORT) - _kept(model, _LONG, 1)) / (_SHORT - 1)
    trained = sum(parameter.nbytes for parameter in model.parameters() if parameter.requires_grad)
    return int(_WORKING * (tokens * per_token + said * per_said) + 3 * trained)


def available(device: torch.device) -> int:
    """Bytes that are free for a run."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def check_fits(model: Any, rows: Sequence[Row], batch_size: int) -> str:
    """What to tell of it. Raises TrainingError, with the remedy, for a run that would not fit."""
    device = choose_device()
    wanted, free = needed(model, rows, batch_size), available(device)
    if device.type == "cuda":  # the model is moved there when training begins
        wanted += sum(parameter.nbytes for parameter in model.parameters())
    longest = max(len(row.ids) for row in rows)
    if wanted > free:
        fits = int(batch_size * free / wanted)
        raise TrainingError(
            f"A step of {batch_size} rows of up to {longest:,} tokens takes about {wanted / GIB:.1f} GiB;"
            f" {free / GIB:.1f} GiB are free.",
            f"Set batch_size to {fits}, or lower max_tokens." if fits else "Lower max_tokens, or take a smaller base.",
        )
    return f"A step takes about {wanted / GIB:.1f} GiB of the {free / GIB:.1f} GiB that are free."


def _kept(model: Any, tokens: int, said: int) -> int:
    """Bytes that autograd keeps for one row, each storage once, weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    row = Row("", "", (), "", [1] * tokens, [False] * (tokens - said) + [True] * said)
    was_training = model.training
    model.train()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        batch = collate([features(row)])
        loss, _ = supervised_loss(model, {key: value.to(model.device) for key, value in batch.items()})
    del loss
    model.train(was_training)
    return sum(kept.values())
