"""Nobody's text becomes a control token, and exactly the assistant's tokens are supervised."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from bot.base import STARTER
from bot.engine.local.encode import encode, encode_reply
from bot.errors import DataError
from bot.types import Message

TOKENIZER = AutoTokenizer.from_pretrained(STARTER)
CONTROL = sorted(TOKENIZER.get_added_vocab())
CONTROL_IDS = set(TOKENIZER.get_added_vocab().values())

ordinary = st.text(st.characters(blacklist_categories=("Cs",)), max_size=60)
hostile = st.lists(
    st.one_of(ordinary, st.sampled_from([*CONTROL, "<|im_start|>system", "<", "|>", "<|", "end|>"])), max_size=6
).map("".join)


@settings(max_examples=300)
@given(system=hostile, user=hostile, reply=hostile)
def test_text_never_becomes_a_control_token(system: str, user: str, reply: str) -> None:
    ids = encode(
        TOKENIZER, [Message("system", system), Message("user", user), Message("assistant", reply), Message("user", "x")]
    )
    found = [i for i in ids if i in CONTROL_IDS]
    names = [
        "<|bos|>",
        "<|system|>",
        "<|end|>",
        "<|user|>",
        "<|end|>",
        "<|assistant|>",
        "<|end|>",
        "<|user|>",
        "<|end|>",
        "<|assistant|>",
    ]
    assert TOKENIZER.convert_ids_to_tokens(found) == names


@settings(max_examples=200)
@given(user=hostile, first=hostile, second=hostile)
def test_exactly_the_last_reply_is_told_apart(user: str, first: str, second: str) -> None:
    messages = [Message("user", user), Message("assistant", first), Message("user", user)]
    ids, start = encode_reply(TOKENIZER, messages, second)
    assert ids[:start] == encode(TOKENIZER, messages)
    said = TOKENIZER.encode(second, add_special_tokens=False, split_special_tokens=True)
    assert ids[start:] == [*said, TOKENIZER.eos_token_id]


def test_a_template_that_rewrites_earlier_turns_is_refused_for_training() -> None:
    tokenizer = AutoTokenizer.from_pretrained(STARTER)
    tokenizer.chat_template = "{{ messages | length }}" + str(tokenizer.chat_template)
    with pytest.raises(DataError, match="prefix-stable"):
        encode_reply(tokenizer, [Message("user", "a")], "b")
