"""The tokenizer: how it is trained, and how documents become ids with learning weights.

Contract: byte-level BPE, digits in pairs, control tokens first; `encode` gives, for every token, the weight with which
it is to be predicted. Saved as a plain transformers tokenizer with the chat template.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from bot.starter.documents import Document, Turn

PAD, BOS, END = 0, 1, 2
SPEAKERS = {"system": 3, "user": 4, "assistant": 5}
CONTROL = ["<|pad|>", "<|bos|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
CONTROL += [f"<|reserved_{number}|>" for number in range(10)]
CHAT_TEMPLATE = (
    "{{- bos_token }}{%- for message in messages %}{%- if message['role'] == 'assistant' %}{{- '<|assistant|>' }}"
    "{%- generation %}{{- message['content'] + '<|end|>' }}{%- endgeneration %}"
    "{%- else %}{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|assistant|>' }}{%- endif %}"
)
_PIECES = r"'(?:s|t|re|ve|m|ll|d)|[.:]\d{1,2}|\d{1,2}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""What is never merged with its neighbours. A point or colon stays with the digits after it: were the "." of "39.95" a
token of its own, copying would take it for the end of a sentence and begin the number again ("39.95.95")."""
CHOICE, OWN_NUMBER, QUESTION, VOTE = 0, 1, 2, 3
WEIGHT_UNIT = 20
"""Weights travel as small whole numbers: this many per 1.0."""


@dataclass(frozen=True)
class Encoded:
    """A document's ids and the weight of predicting each of them."""

    ids: npt.NDArray[np.uint16]
    weights: npt.NDArray[np.uint16]
    looks: tuple[tuple[int, int, int, int], ...] = ()
    """(kind, place, first and last + 1 place to look at). CHOICE: from before a choice to the passage chosen, or to the
    document's first place for none. OWN_NUMBER: from a word of a passage to the passage's number. QUESTION: from before a
    choice to the words of the customer's message. VOTE: from some of these words to where CHOICE looks."""


def train_tokenizer(texts: Iterable[str], size: int = 8192) -> Tokenizer:
    """Learn the vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    words = pre_tokenizers.Split(Regex(_PIECES), behavior="isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=CONTROL, initial_alphabet=alphabet, show_progress=False)
    pairs = " ".join(f"{number:02d}.{number:02d}" for number in range(100))
    tokenizer.train_from_iterator(chain(texts, [pairs] * 500), trainer)
    return tokenizer


def wrap(tokenizer: Tokenizer) -> Any:
    """The tokenizer as transformers knows it, chat template included."""
    from transformers import PreTrainedTokenizerFast

    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=CONTROL[BOS], eos_token=CONTROL[END], pad_token=CONTROL[PAD],
        model_max_length=1024, clean_up_tokenization_spaces=False, padding_side="left",
    )  # fmt: skip
    wrapped.chat_template = CHAT_TEMPLATE
    return wrapped


def open_tokenizer(folder: Path) -> Tokenizer:
    """The bare tokenizer of a folder. Text can never become a control token through it."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer


def token_texts(tokenizer: Tokenizer) -> list[str]:
    """Every token's text, as it would be read."""
    return [tokenizer.decode([number], skip_special_tokens=False) for number in range(tokenizer.get_vocab_size())]


def encode(documents: Sequence[Document], tokenizer: Tokenizer) -> list[Encoded]:
    """Ids and weights of many documents at once."""
    texts = [turn.text for document in documents for turn in document.turns]
    pieces = iter(tokenizer.encode_batch(texts, add_special_tokens=False))
    return [_encode_one(document, pieces) for document in documents]


def _encode_one(document: Document, pieces: Any) -> Encoded:
    ids, weights = [BOS], [0.0]
    looks: list[tuple[int, int, int, int]] = []
    head, starts, asked = document.turns[0].text, 2, (0, 1)
    offsets: Sequence[tuple[int, int]] = ()
    for number, turn in enumerate(document.turns):
        piece = next(pieces)
        if number == 0:
            offsets = piece.offsets
        if turn.choice and asked[0] < asked[1]:
            place = len(ids) + sum(end <= turn.choice.at for _, end in piece.offsets)
            first = head.find(turn.choice.passage, turn.choice.after) if turn.choice.passage else -1
            span = _places(offsets, first, first + len(turn.choice.passage)) if first >= 0 else None
            if span or not turn.choice.passage:
                right = (starts + span[0], starts + span[1]) if span else (0, 1)
                looks.append((CHOICE, place, *right))
                looks += [(VOTE, word, *right) for word in sorted({sum(asked) // 2, asked[1] - 1})]
            if span:
                looks += _own_number(head, first, offsets, starts, span)
            looks.append((QUESTION, place, *asked))
        if turn.speaker == "user":
            asked = (len(ids) + 1, len(ids) + 1 + len(piece.ids))
        ids += [SPEAKERS[turn.speaker], *piece.ids, END]
        learnt = turn.weight if turn.speaker == "assistant" else 0.0
        weights += [0.0, *_turn_weights(turn, piece.offsets), learnt]
    scaled = np.minimum(np.round(np.array(weights) * WEIGHT_UNIT), 65535)
    return Encoded(np.array(ids, dtype=np.uint16), scaled.astype(np.uint16), tuple(dict.fromkeys(looks)))


def _own_number(
    head: str, first: int, offsets: Sequence[tuple[int, int]], starts: int, span: tuple[int, int]
) -> list[tuple[int, int, int, int]]:
    """From some words of a passage to its number, where its line begins with one in brackets."""
    line = head.rfind("\n", 0, first) + 1
    number = re.match(r"[\[(](\d+)[\])]", head[line:first])
    target = _places(offsets, line + number.start(1), line + number.end(1)) if number else None
    if target is None:
        return []
    words = sorted({span[0], (span[0] + span[1]) // 2, span[1] - 1})
    return [(OWN_NUMBER, starts + word, starts + target[0], starts + target[1]) for word in words]


def _places(offsets: Sequence[tuple[int, int]], start: int, end: int) -> tuple[int, int] | None:
    """The tokens that lie within characters start … end."""
    inside = [place for place, (first, last) in enumerate(offsets) if last > start and first < end]
    return (inside[0], inside[-1] + 1) if inside else None


def _turn_weights(turn: Turn, offsets: Sequence[tuple[int, int]]) -> list[float]:
    weights = [turn.weight] * len(offsets)
    for mark in turn.marks:
        value = mark.first
        for place, (start, end) in enumerate(offsets):
            if end > mark.start and start < mark.end and end > start:
                weights[place] = max(weights[place], value * turn.weight)
                value = mark.rest
    return weights
