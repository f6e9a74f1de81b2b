"""How likely a model finds a given reply: one forward pass over the finished conversation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bot.engine.local.encode import encode, encode_supervised
from bot.engine.local.model import Model
from bot.engine.local.slots import Slots
from bot.engine.local.stack import LoraMix, stack_of
from bot.errors import InvalidMessage
from bot.types import Message


def score(model: Model, messages: Sequence[Message], reply: str, loras: LoraMix, virtual: Tensor | None) -> list[float]:
    """Log-probability of each token of the reply and its end."""
    ids, mask = encode_supervised(model.tokenizer, (*messages, Message("assistant", reply)))
    start = len(encode(model.tokenizer, messages))
    before = 0 if virtual is None else virtual.shape[1]
    if (filled := before + len(ids)) > model.context:
        raise InvalidMessage(f"{filled:,} tokens to score; this base reads {model.context:,}.", "Shorten the reply.")
    window = Slots(1, filled).window([0], filled)
    keep = len(ids) - start + 1
    logits = model.forward(model.inputs(ids, virtual, 0, filled), window, stack_of([loras], model.dtype), keep)
    wanted = [place for place in range(start, len(ids)) if mask[place]]
    logprobs = logits[0, [place - start for place in wanted]].float().log_softmax(-1)
    picked = logprobs.gather(1, torch.tensor([[ids[place]] for place in wanted]))
    return [float(value) for value in picked[:, 0]]
