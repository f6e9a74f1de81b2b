"""Messages → token ids, the same for training and serving.

Text that is not the chat template's own never becomes a control token: ids come from transformers' sanitised
tokenising, whoever wrote the text. Knows nothing of models.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bot.errors import DataError, EngineError
from bot.types import Message

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# A fast tokenizer holds "read special tokens as text" as a flag of its own: two threads would encode under each other's.
_ONE_AT_A_TIME = threading.Lock()
_OPENED = re.compile(r"<think(?:ing)?>\s*\Z", re.I)


def _ids(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], generation_prompt: bool) -> list[int]:
    from jinja2 import TemplateError

    chat = [{"role": message.role, "content": message.content} for message in messages]
    try:
        with _ONE_AT_A_TIME:
            ids: list[int] = tokenizer.apply_chat_template(
                chat, add_generation_prompt=generation_prompt, sanitize_control_tokens=True, return_dict=False
            )
    except (ValueError, TemplateError) as error:
        raise EngineError(
            f"The base's chat template does not take these messages: {error}", "Choose another base."
        ) from None
    return ids


def encode(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> list[int]:
    """Ids of the messages and the opening of the reply that is to come."""
    return _ids(tokenizer, messages, generation_prompt=True)


def opens_reasoning(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether the chat template opens a reply with `<think>` and leaves it open, as those of bases that always reason do.
    False for one that takes a message neither alone nor behind a system message."""
    asked = Message("user", "?")
    for messages in ([asked], [Message("system", "."), asked]):
        with contextlib.suppress(EngineError):
            return bool(_OPENED.search(str(tokenizer.decode(encode(tokenizer, messages)))))
    return False


def encode_reply(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message], reply: str) -> tuple[list[int], int]:
    """Ids of the messages with their reply, and where the reply begins; its end token is the last of them.

    Raises DataError when the template writes the messages in another way once a reply follows, since training would then
    differ from serving.
    """
    before = encode(tokenizer, messages)
    ids = _ids(tokenizer, (*messages, Message("assistant", reply)), generation_prompt=False)
    if ids[: len(before)] != before:
        raise DataError(
            "The base's chat template is not prefix-stable: a turn is written differently once others follow it.",
            "Such a base cannot be trained on conversations: choose another.",
        )
    return ids, len(before)
