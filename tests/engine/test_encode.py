"""Nobody's text becomes a control token, and exactly the assistant's tokens are supervised."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from bot.base import STARTER, Base, open_base
from bot.engine.local.encode import encode, encode_reply, opens_reasoning
from bot.engine.local.engine import LocalEngine
from bot.errors import DataError, EngineError
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


@pytest.mark.parametrize(
    ("opening", "opens"),
    [
        ("<|assistant|>", False),
        ("<|assistant|><think>", True),
        ("<|assistant|><think>\n", True),
        ("<|assistant|><Thinking>\n\n", True),
        ("<|assistant|><think>\n\n</think>\n\n", False),
    ],
)
def test_a_template_that_opens_the_reasoning_is_known(opening: str, opens: bool) -> None:
    tokenizer = AutoTokenizer.from_pretrained(STARTER)
    written = repr(opening).strip("'")
    tokenizer.chat_template = str(tokenizer.chat_template).replace(
        "{%- if add_generation_prompt %}{{- '<|assistant|>' }}", f"{{%- if add_generation_prompt %}}{{{{- '{written}' }}}}"
    )
    assert written in tokenizer.chat_template
    assert opens_reasoning(tokenizer) is opens


@pytest.mark.parametrize(("opening", "opens"), [("", False), ("<think>\\n", True)])
async def test_a_base_whose_template_insists_on_a_system_message_is_served(
    tiny_base: Base, tmp_path: Path, opening: str, opens: bool
) -> None:
    shutil.copytree(tiny_base.path, tmp_path / "base")
    template = tmp_path / "base" / "chat_template.jinja"
    insists = "{%- if messages[0].role != 'system' %}{{ raise_exception('no system message') }}{% endif %}"
    template.write_text(
        insists + template.read_text().replace("prompt %}{{- '<|assistant|>'", f"prompt %}}{{{{- '<|assistant|>{opening}'")
    )
    engine = LocalEngine(open_base(str(tmp_path / "base")), "float32")
    assert await engine.opens_reasoning() is opens
    with pytest.raises(EngineError, match="no system message"):
        engine.count([Message("user", "a")])
    assert engine.count([Message("system", "b"), Message("user", "a")])
    await engine.close()


def test_a_template_that_takes_nothing_opens_no_reasoning() -> None:
    tokenizer = AutoTokenizer.from_pretrained(STARTER)
    tokenizer.chat_template = "{{ raise_exception('never') }}"
    assert not opens_reasoning(tokenizer)


async def test_the_engine_tells_whether_its_base_opens_the_reasoning(tiny_base: Base, tmp_path: Path) -> None:
    shutil.copytree(tiny_base.path, tmp_path / "base")
    template = tmp_path / "base" / "chat_template.jinja"
    template.write_text(
        template.read_text().replace("prompt %}{{- '<|assistant|>'", "prompt %}{{- '<|assistant|><think>\\n'")
    )
    for base, opens in ((tiny_base, False), (open_base(str(tmp_path / "base")), True)):
        engine = LocalEngine(base, "float32")
        assert await engine.opens_reasoning() is opens
        await engine.close()
