"""Customers' messages in other words and with slips of the finger: more rows to train on, never to be judged by.

What an agent says is left as it is, for it is what is learned; so are numbers, placeholders and labels. The same seed and
conversation give the same copies. The ways to say it otherwise stand in `paraphrases.yaml`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from bot.files import read_yaml
from bot.training.transcripts import Conversation
from bot.types import Message

COPY = "+"
_SLIP = 0.06
"""Share of the words with a slip."""
_WORD = re.compile(r"(?<![\w\[@.-])[^\W\d_]{4,}(?![\w\]@-])")


def augmented(conversations: Iterable[Conversation], copies: int, seed: int) -> list[Conversation]:
    """The conversations, and after each one `copies` of it with other ids."""
    made = []
    for conversation in conversations:
        made.append(conversation)
        for number in range(1, copies + 1):
            chance = random.Random(f"{seed}/{number}/{conversation.id}")  # noqa: S311 - not a secret
            messages = tuple(
                Message("user", otherwise(message.content, chance)) if message.role == "user" else message
                for message in conversation.messages
            )
            made.append(replace(conversation, id=f"{conversation.id}{COPY}{number}", messages=messages))
    return made


def original(conversation: str) -> str:
    """The id of the conversation that one is a copy of; its own where it is none."""
    return conversation.rpartition(COPY)[0] or conversation


def otherwise(text: str, chance: random.Random) -> str:
    """A customer's message in other words, with a slip here and there."""
    words = _paraphrases()
    for phrases in words["phrases"]:
        for phrase in phrases:
            text, found = re.subn(rf"\b{re.escape(phrase)}\b", chance.choice(phrases), text, count=1, flags=re.I)
            if found:
                break
    if chance.random() < words["framed"]:
        text = str(chance.choice(words["frames"])).replace("{}", text)
    return _WORD.sub(lambda word: _slip(word[0], chance) if chance.random() < _SLIP else word[0], text)


def _slip(word: str, chance: random.Random) -> str:
    """One letter doubled, left out, swapped with the next, or hit beside its key. The first one stays."""
    place = chance.randrange(1, len(word) - 1)
    before, letter, after = word[:place], word[place], word[place + 1 :]
    kind = chance.randrange(4)
    if kind == 0:
        return before + letter * 2 + after
    if kind == 1:
        return before + after
    if kind == 2:
        return before + after[0] + letter + after[1:]
    return before + str(chance.choice(_paraphrases()["keys"].get(letter.lower(), letter))) + after


@cache
def _paraphrases() -> dict[str, Any]:
    return read_yaml(Path(__file__).with_name("paraphrases.yaml"))
