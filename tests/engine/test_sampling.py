"""Drawing tokens and holding back text."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from bot.base import STARTER
from bot.engine.local.sampling import Picker, TextStream, banned
from bot.types import Sampling

TOKENIZER = AutoTokenizer.from_pretrained(STARTER)


@given(tokens=st.lists(st.integers(0, 3), max_size=30), size=st.integers(1, 4))
def test_banned_tokens_are_exactly_those_that_repeat_an_ngram(tokens: list[int], size: int) -> None:
    seen = {tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)}
    for token in range(4):
        repeats = len(tokens) >= size - 1 and (*tokens[len(tokens) - size + 1 :], token) in seen
        assert (token in banned(tokens, size)) == repeats


def test_ends_are_barred_until_the_least_length() -> None:
    logits = torch.tensor([0.0, 5.0, 1.0])
    picker = Picker(Sampling(min_tokens=2), 0, frozenset({1}))
    assert [picker.pick(logits, int(logits.argmax())) for _ in range(3)] == [2, 2, 1]


def test_top_p_keeps_the_likeliest_and_no_more() -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    picker = Picker(Sampling(temperature=1.0, top_p=0.75), 0, frozenset())
    assert {picker.pick(logits, int(logits.argmax())) for _ in range(200)} == {0, 1}


@given(text=st.text(st.characters(blacklist_categories=("Cs",)), max_size=80), stop=st.text(min_size=1, max_size=4))
def test_text_comes_out_whole_and_never_past_a_stop_string(text: str, stop: str) -> None:
    ids = TOKENIZER.encode(text, add_special_tokens=False, split_special_tokens=True)
    decoded = TOKENIZER.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
    stream, out = TextStream(TOKENIZER, [stop]), ""
    for token in ids:
        piece = stream.push(token)
        assert "\ufffd" not in piece or "\ufffd" in decoded
        out += piece
        if stream.stopped:
            break
    out += "" if stream.stopped else stream.flush()
    if stop in decoded:
        assert stream.stopped
        assert out == decoded[: decoded.index(stop)]
    else:
        assert decoded.startswith(out)
