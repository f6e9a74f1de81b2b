"""A conversation never changes sides when others join, as far as strata allow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import DataError
from bot.training.formats import Label
from bot.training.split import is_held_out, split
from bot.training.transcripts import Conversation


@given(st.sets(st.text(max_size=8), min_size=1), st.floats(0.05, 0.95))
def test_a_conversation_never_changes_sides_when_others_join(ids: set[str], share: float) -> None:
    ordered = sorted(ids)
    before = {id_: is_held_out(id_, share) for id_ in ordered[::2]}
    conversations = [Conversation(id_, ()) for id_ in (*ordered, "one more", "and another")]
    try:
        training, held_out = split(conversations, share)
    except DataError:
        return
    assert {c.id for c in training} | {c.id for c in held_out} == {c.id for c in conversations}
    sides = {**{c.id: False for c in training}, **{c.id: True for c in held_out}}
    assert all(sides[id_] is side for id_, side in before.items())


def labelled(id_: str, intent: str) -> Conversation:
    return Conversation(id_, (), (Label(0, {"intent": intent}),))


@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.sampled_from([0.1, 0.15, 0.3]), st.integers(0, 99))
def test_every_stratum_holds_out_between_half_and_twice_the_share(sizes: list[int], share: float, salt: int) -> None:
    made = [labelled(f"{salt}/{stratum}/{n}", f"i{stratum}") for stratum, size in enumerate(sizes) for n in range(size)]
    try:
        _, held_out = split(made, share)
    except DataError:
        return
    for stratum, size in enumerate(sizes):
        count = sum(c.labels[0].values["intent"] == f"i{stratum}" for c in held_out)
        if size * share >= 1:
            assert max(1, int(size * share / 2)) <= count <= 2 * size * share + 1
        if size > 1:
            assert count < size
        hashed = {c.id for c in made if c.labels[0].values["intent"] == f"i{stratum}" and is_held_out(c.id, share)}
        chosen = {c.id for c in held_out if c.labels[0].values["intent"] == f"i{stratum}"}
        # Only next to the border are sides changed.
        assert hashed <= chosen or chosen <= hashed


def test_the_held_out_share_is_about_what_was_asked_for() -> None:
    assert 0.13 < sum(is_held_out(f"returns-{n}", 0.15) for n in range(4000)) / 4000 < 0.17
    with pytest.raises(DataError, match="both parts"):
        split([Conversation("a", ())], 0.5)
