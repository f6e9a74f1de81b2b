"""Rows → batches → loss on the supervised tokens alone.

Rows are padded on the right, so every position is what it is in serving, also behind the virtual tokens that PEFT puts
first. What all rows of a batch begin with, the role and its examples, is read once for all of them; logits are computed
where a supervised token is next, nowhere else. Neither changes the loss.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from bot.training.attention import without_mask
from bot.training.dataset import Row
from bot.training.paired import RowLoss, mean_loss

IGNORE = -100
_WORTH_SHARING = 16
"""Tokens. A shorter beginning costs more to read apart than in every row."""


def collate(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Right-padded int64 tensors of shape (rows, longest): input_ids, attention_mask, labels."""
    longest = max(len(row["input_ids"]) for row in rows)
    pads = [longest - len(row["input_ids"]) for row in rows]
    return {
        # Any id will do for padding: nothing attends to it and it has no label.
        "input_ids": torch.tensor([row["input_ids"] + [0] * pad for pad, row in zip(pads, rows, strict=True)]),
        "attention_mask": torch.tensor([[1] * (longest - pad) + [0] * pad for pad in pads]),
        "labels": torch.tensor([row["labels"] + [IGNORE] * pad for pad, row in zip(pads, rows, strict=True)]),
    }


def features(row: Row) -> dict[str, list[int]]:
    return {
        "input_ids": row.ids,
        "labels": [token if said else IGNORE for token, said in zip(row.ids, row.mask, strict=True)],
    }


def supervised_loss(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
    """Negative log-likelihood in nats, summed over the batch's supervised tokens, and their number."""
    logits, wanted, chosen = _predicted(model, batch)
    return torch.nn.functional.cross_entropy(logits, wanted, reduction="sum"), int(chosen.sum())


def _predicted(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Over the supervised tokens, row by row: logits (tokens, vocabulary) and wanted ids (tokens); and which places are
    supervised (rows, places)."""
    ids, labels = batch["input_ids"], batch["labels"][:, 1:]
    chosen = labels != IGNORE
    inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": batch["attention_mask"], "use_cache": False}
    if shared := _shared(model, batch):
        inputs |= {"input_ids": ids[:, shared:], "past_key_values": _read_once(model, ids[:1, :shared], len(ids))}
        inputs["use_cache"] = True

    def wanted(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """The hidden states that speak about a supervised token, in place of all."""
        # From the end: a soft prompt's virtual tokens may stand in front.
        hidden, length = given[0], ids.shape[1] - 1 - shared
        return (hidden[:, -1 - length : -1][chosen[:, shared:]], *given[1:])

    with _before_head(model, wanted):
        logits = model(**inputs).logits
    return logits.float(), labels[chosen], chosen


def row_losses(model: Any, rows: Sequence[Row], batch_size: int) -> list[RowLoss]:
    """What each row costs, in the order given, with the model in evaluation mode. Rows alike in length share a batch."""
    was_training = model.training
    model.eval()
    losses: dict[int, RowLoss] = {}
    ordered = sorted(range(len(rows)), key=lambda number: len(rows[number].ids))
    with torch.no_grad():
        for start in range(0, len(ordered), batch_size):
            numbers = ordered[start : start + batch_size]
            batch = collate([features(rows[number]) for number in numbers])
            logits, wanted, chosen = _predicted(model, {key: value.to(model.device) for key, value in batch.items()})
            nats = torch.nn.functional.cross_entropy(logits, wanted, reduction="none").double()
            counts = chosen.sum(1).tolist()
            for number, own, count in zip(numbers, torch.split(nats, counts), counts, strict=True):
                losses[number] = RowLoss(rows[number].conversation, float(own.sum()), count)
    model.train(was_training)
    return [losses[number] for number in range(len(rows))]


def held_out_loss(model: Any, rows: Sequence[Row], batch_size: int) -> float:
    """Mean negative log-likelihood a supervised token, in nats, with the model in evaluation mode."""
    return mean_loss(row_losses(model, rows, batch_size))


def plain(model: Any) -> Any:
    """The PEFT model without what several processes wrap it in."""
    return getattr(model, "module", model)


@contextmanager
def _before_head(model: Any, hook: Callable[..., tuple[torch.Tensor, ...]]) -> Iterator[None]:
    handle = plain(model).get_output_embeddings().register_forward_pre_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _shared(model: Any, batch: dict[str, torch.Tensor]) -> int:
    """How many tokens every row begins with, short of those whose logits are wanted; 0 where that may not be used."""
    ids = batch["input_ids"]
    if len(ids) < 2 or not without_mask(plain(model)) or plain(model).active_peft_config.is_prompt_learning:
        return 0
    before = int((batch["labels"] != IGNORE).any(0).nonzero()[0]) - 1
    same = (ids == ids[0]).all(0) & (batch["attention_mask"] == 1).all(0)
    count = int(same[:before].long().cumprod(0).sum())
    return count if count >= _WORTH_SHARING else 0


def _read_once(model: Any, beginning: torch.Tensor, rows: int) -> Any:
    """Keys and values of `beginning`, of shape (1, tokens), for each of `rows` rows. Gradients flow back through them."""
    from transformers import DynamicCache

    def none(_: Any, given: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return (given[0][:, :0], *given[1:])

    cache = DynamicCache(config=plain(model).get_base_model().config)
    with _before_head(model, none):
        cache = model(input_ids=beginning, past_key_values=cache, use_cache=True).past_key_values
    for layer in cache.layers:
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
    return cache
