"""What the gates ask a model: how far its logits move, what a reply costs after a prompt, the rows of the general set.

With `adapter.py` and `trainer.py` all of training that touches a model.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bot.base import Base
from bot.engine.local.encode import encode, encode_reply
from bot.engine.local.model import load_base
from bot.training.canary import gate_texts
from bot.training.dataset import Row, row_of
from bot.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TOGETHER = 64
"""Replies to one prompt that are scored in one batch."""


@torch.no_grad()
def logit_change(model: Any, tokenizer: PreTrainedTokenizerBase) -> float:
    """The largest absolute difference that the adapter makes to a logit over the probes; NaN where a logit is."""
    model.eval()
    largest = []
    for text in gate_texts()["probes"]:
        ids = torch.tensor([encode(tokenizer, [Message("user", text)])], device=model.device)
        mask = torch.ones_like(ids)
        # Virtual tokens may stand in front: the last positions are the text's.
        with_adapter = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, -ids.shape[1] :]
        with model.disable_adapter():
            without = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        largest.append((with_adapter.float() - without.float()).abs().max())
    return float(torch.stack(largest).max())


@torch.no_grad()
def reply_costs(model: Any, tokenizer: PreTrainedTokenizerBase, row: Row, replies: Sequence[str]) -> list[float]:
    """Nats of each reply in place of the row's own, end token included. The prompt is read once for all of them."""
    model.eval()
    start = len(encode(tokenizer, row.messages))
    tails = [encode_reply(tokenizer, row.messages, reply)[0][start:] for reply in replies]
    inner = model.get_base_model()
    read = inner.get_input_embeddings()(torch.tensor([row.ids[:start]], device=model.device))
    if model.active_peft_config.is_prompt_learning:
        read = torch.cat((model.get_prompt(1).to(read.dtype), read), dim=1)
    prefix = inner(inputs_embeds=read, use_cache=True)
    first = prefix.logits[:, -1:].float()
    costs = []
    for number in range(0, len(tails), _TOGETHER):
        some = tails[number : number + _TOGETHER]
        longest = max(map(len, some))
        # Padding stands behind every reply, where nothing that is scored can see it.
        ids = torch.tensor([tail + [0] * (longest - len(tail)) for tail in some], device=model.device)
        cache = copy.deepcopy(prefix.past_key_values)
        cache.batch_repeat_interleave(len(some))
        logits = inner(input_ids=ids, past_key_values=cache, use_cache=True).logits.float()
        said = torch.cat((first.expand(len(some), -1, -1), logits[:, :-1]), dim=1).log_softmax(-1)
        chosen = said.gather(-1, ids[..., None])[..., 0]
        costs += [-float(own[: len(tail)].double().sum()) for own, tail in zip(chosen, some, strict=True)]
    return costs


def general_rows(tokenizer: PreTrainedTokenizerBase) -> list[Row]:
    """The general set as rows: each exchange alone, without a prompt."""
    rows = []
    for number, (question, reply) in enumerate(gate_texts()["general"]):
        rows.append(row_of(tokenizer, f"general-{number + 1}", question, (Message("user", question),), reply))
    return rows


def swapped(tokenizer: PreTrainedTokenizerBase, rows: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """The last replies of the rows, and each after the prompt of another conversation that was answered otherwise. Replies
    for which there is none are in neither."""
    own, others = [], []
    for number, row in enumerate(rows):
        turned = (rows[(number + len(rows) // 2 + step) % len(rows)] for step in range(len(rows)))
        other = next((o for o in turned if o.conversation != row.conversation and o.reply != row.reply), None)
        if other:
            own.append(row_of(tokenizer, row.conversation, row.question, row.messages, row.reply))
            others.append(row_of(tokenizer, row.conversation, row.question, other.messages, row.reply))
    return own, others


def load(base: Base, folder: Path) -> Any:
    """The base in float32 under the verified adapter in `folder`, in evaluation mode → PeftModel."""
    from peft import PeftModel

    return PeftModel.from_pretrained(load_base(base, torch.float32), str(folder)).eval()
