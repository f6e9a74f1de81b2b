"""What is shown of a reply that reasons, however it is cut into pieces."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.prompts.reasoning import ReasoningFilter, reasoned
from bot.types import Piece, Usage

words = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<THINK>", "</thinking>", "<Thinking>", "<\u200bthink>", "<\u200b/think>", "<", "</", "<thin", "<thinker>", "/think>", " ", "\n", "Hi.", "é"]
    ),
    max_size=12,
).map("".join)  # fmt: skip


def run(pieces: list[str], inside: bool = False) -> tuple[str, str]:
    """Shown text and reasoning of a reply that comes like this."""
    screen = ReasoningFilter(inside)
    passed = [screen.shown(Piece(text)) for text in pieces] + [screen.shown(Piece("", "stop"))]
    return "".join(piece.text for piece in passed if piece), screen.reasoning


@given(text=words, inside=st.booleans(), data=st.data())
def test_any_splitting_shows_and_keeps_the_same(text: str, inside: bool, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=len(text) + 2)))
    pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
    assert run(pieces, inside) == run([text], inside)


@given(text=(st.text(max_size=40) | words).filter(lambda text: not re.search("think(ing)?>", text, re.I)))
def test_text_without_a_tag_is_not_changed(text: str) -> None:
    assert run(list(text)) == (text, "")


@given(inside=st.text(max_size=40), after=st.text(max_size=40))
def test_reasoning_is_never_shown(inside: str, after: str) -> None:
    inside, after = inside.replace("<", ""), after.replace("<", "")
    assert run(list(f"<think>{inside}</think> {after}")) == (after.lstrip(), inside)
    assert run(list(f"<think>{inside}")) == ("", inside)


def test_text_that_begins_no_tag_is_shown_at_once() -> None:
    screen = ReasoningFilter()
    for text in ("3 ", "< ", "4 and ", "<b", ">", "<t", "able>"):
        piece = screen.shown(Piece(text))
        assert (piece.text if piece else "") == {"<t": "", "able>": "<table>"}.get(text, text)


@pytest.mark.parametrize(
    ("text", "shown", "reasoning"),
    [
        ("<think>Asked: hours. [1] gives 9:00.</think> From 9:00.", "From 9:00.", "Asked: hours. [1] gives 9:00."),
        ("\n<think>a</think>\n\nHi <b>", "\nHi <b>", "a"),
        ("One. <think>a</think>Two. <think>b</think>Three.", "One. Two. Three.", "a\nb"),
        ("<think></think> Hi", "Hi", ""),
        ("<think>a <think> b</think> Hi", "Hi", "a <think> b"),
        ("<think>cut off", "", "cut off"),
        ("<think>cut off</thi", "", "cut off</thi"),
        ("2 < 3 <thin", "2 < 3 <thin", ""),
        ("<THINK>a</Think> Hi", "Hi", "a"),
        ("<thinking>a</thinking> Hi", "Hi", "a"),
        ("<think>a <thinking> b</THINKING> Hi", "Hi", "a <thinking> b"),
        ("<think>a</think></think> Hi", "Hi", "a"),
        ("shown by now</think> Hello.", "shown by now Hello.", ""),
        ("<thinker> <\u212a>", "<thinker> <\u212a>", ""),
    ],
)
def test_examples(text: str, shown: str, reasoning: str) -> None:
    assert run(list(text)) == (shown, reasoning)


@pytest.mark.parametrize(
    ("text", "shown", "reasoning"),
    [
        ("secret thoughts</think> Hello.", "Hello.", "secret thoughts"),
        ("secret thoughts</THINKING>\n\nHello.", "Hello.", "secret thoughts"),
        ("secret that never ends", "", "secret that never ends"),
        ("secret</thi", "", "secret</thi"),
        ("<think>opened again</think> Hello.", "Hello.", "<think>opened again"),
        ("a</think> One. <think>b</think>Two.", "One. Two.", "a\nb"),
        ("", "", ""),
    ],
)
def test_a_reply_may_begin_inside(text: str, shown: str, reasoning: str) -> None:
    assert run(list(text), inside=True) == (shown, reasoning)


@given(inside=st.text(max_size=40), after=st.text(max_size=40))
def test_nothing_before_the_closing_tag_is_shown_where_a_reply_begins_inside(inside: str, after: str) -> None:
    inside, after = inside.replace("<", ""), after.replace("<", "")
    assert run(list(f"{inside}</think>{after}"), inside=True) == (after.lstrip(), inside)


def test_the_last_piece_keeps_its_end_and_usage() -> None:
    screen = ReasoningFilter()
    assert screen.shown(Piece("<think>a")) is None
    last = screen.shown(Piece("b", "length", Usage(3, 4)))
    assert last == Piece("", "length", Usage(3, 4))


@pytest.mark.parametrize(
    ("reply", "before"),
    [
        ("<think>none</think> Sorry.", "<think>none</think> "),
        ("<think>a</think>\n\n<think>b</think>\nYes.", "<think>a</think>\n\n<think>b</think>\n"),
        ("<think>cut of", "<think>cut of</think> "),
        ("<think>all</think>", "<think>all</think> "),
        ("No reasoning at all.", ""),
    ],
)
def test_another_reply_would_stand_behind_the_reasoning(reply: str, before: str) -> None:
    assert reasoned(reply) == before


@pytest.mark.parametrize(
    ("reply", "before"),
    [
        ("none</think> Sorry.", "none</think> "),
        ("a</think>\n\n<think>b</think>\nYes.", "a</think>\n\n<think>b</think>\n"),
        ("cut of", "cut of</think> "),
        ("<think>again</think> Yes.", "<think>again</think> "),
    ],
)
def test_another_reply_would_stand_behind_reasoning_that_the_template_opened(reply: str, before: str) -> None:
    assert reasoned(reply, inside=True) == before
