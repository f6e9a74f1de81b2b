"""Selections of a learning curve are nested, fair, and never hold what is held out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.desk import Desk
from bot.errors import DataError
from bot.runs.progress import Quiet
from bot.training.draws import ordered, parted, sizes_up_to
from bot.training.formats import Label
from bot.training.prepared import plan, prepare
from bot.training.recipe import Recipe
from bot.training.split import split, stratum
from bot.training.subset import key, scaled, subset, usable
from bot.training.transcripts import Conversation


def conversations(sizes: list[int], salt: int = 0) -> list[Conversation]:
    return [
        Conversation(f"{salt}/{intent}/{number}", (), (Label(0, {"intent": f"i{intent}"}),))
        for intent, size in enumerate(sizes)
        for number in range(size)
    ]


SIZES = st.lists(st.integers(1, 40), min_size=1, max_size=6)


@given(SIZES, st.integers(0, 99), st.integers(0, 9))
def test_an_order_holds_each_once_and_depends_on_ids_and_draw_alone(sizes: list[int], salt: int, draw: int) -> None:
    made = conversations(sizes, salt)
    order = ordered(made, draw)
    assert sorted(order) == sorted(conversation.id for conversation in made)
    assert order == ordered(reversed(made), draw)


@given(SIZES, st.integers(0, 99), st.integers(0, 9), st.floats(0, 1))
def test_every_beginning_is_stratified(sizes: list[int], salt: int, draw: int, part: float) -> None:
    made = conversations(sizes, salt)
    order = ordered(made, draw)
    count = round(part * len(order))
    intents = {conversation.id: stratum(conversation) for conversation in made}
    for intent, size in enumerate(sizes):
        held = sum(intents[id_] == f"i{intent}" for id_ in order[:count])
        assert abs(held - size * count / len(order)) <= 1 + len(sizes) * size / len(order)


def test_draws_differ_and_all_conversations_come_first_sometimes() -> None:
    made = conversations([12, 5, 1])
    orders = [ordered(made, draw) for draw in range(400)]
    firsts = [order[:6] for order in orders]
    assert len({tuple(first) for first in firsts}) > 300
    often = {c.id: sum(c.id in first for first in firsts) for c in made}
    # A third of 400 each; five standard deviations are 47.
    assert all(abs(times - 400 / 3) < 47 for times in often.values())


@given(st.integers(2, 200), st.floats(0.01, 0.9))
def test_what_is_trained_on_and_what_chooses_are_nested_and_apart(count: int, share: float) -> None:
    ids = [str(number) for number in range(count)]
    trained, choosing = parted(ids, share)
    assert sorted(trained + choosing, key=int) == ids
    assert trained
    assert len(choosing) == max(1, int(count * share))
    if count > 2:
        before = parted(ids[:-1], share)
        assert set(before[0]) <= set(trained)
        assert set(before[1]) <= set(choosing)


@given(SIZES, st.integers(0, 20), st.sampled_from([0.1, 0.15, 0.3]))
def test_nothing_held_out_is_ever_selected(sizes: list[int], salt: int, share: float) -> None:
    try:
        training, held_out = split(conversations(sizes, salt), share)
    except DataError:
        return
    assert set(ordered(training, 0)).isdisjoint(conversation.id for conversation in held_out)


def test_sizes() -> None:
    assert sizes_up_to(150) == (10, 25, 50, 100, 150)
    assert sizes_up_to(800) == (10, 25, 50, 100, 200, 400, 800)
    assert sizes_up_to(110) == (10, 25, 50, 110)
    assert sizes_up_to(7) == (7,)


def test_fewer_transcripts_are_read_more_often_and_with_more_patience() -> None:
    recipe = Recipe(prompt="support@1", targets=["q_proj"], epochs=6, patience=1)
    assert scaled(recipe, 150, 150) == recipe
    fewer = scaled(recipe, 25, 150)
    assert (fewer.epochs, fewer.patience) == (15, 3)


def test_rows_of_a_subset(recipe: Path, desk: Desk) -> None:
    planned = plan(recipe, desk, ["augment=2", "canaries=1"])
    material = prepare(planned, desk, Quiet()).material
    order = ordered(usable(material), 0)
    assert len(order) == material.conversations[0]
    held_out = {row.conversation for row in material.held_out}
    seen: set[str] = set()
    for size in range(2, len(order) + 1):
        found = subset(material, planned.recipe, order, size, 0)
        training, choosing = ({row.conversation for row in rows} for rows in (found.training, found.choosing))
        assert {name.partition("+")[0] for name in training} | choosing == set(order[:size])
        # Copies of what chooses are not trained on, and held-out conversations are nowhere.
        assert {name.partition("+")[0] for name in training}.isdisjoint(choosing)
        assert (training | choosing).isdisjoint(held_out)
        assert seen <= training
        assert not any("+" in name for name in choosing)
        seen = training
    assert sum("+" in name for name in seen) == 2 * (len(seen) // 3)
    assert subset(material, planned.recipe, order, 5, 2).recipe.seed == planned.recipe.seed + 2
    for size in (1, len(order) + 1):
        with pytest.raises(DataError, match="cannot be taken"):
            subset(material, planned.recipe, order, size, 0)


def test_the_key_is_of_all_that_a_point_depends_on(recipe: Path, desk: Desk) -> None:
    def keys(overrides: list[str], draw: int = 0, dtype: str = "float32", size: int = 5) -> str:
        planned = plan(recipe, desk, overrides)
        material = prepare(planned, desk, Quiet()).material
        made = subset(material, planned.recipe, ordered(usable(material), draw), size, draw)
        return key(made, material.held_out, desk.base, dtype)

    first = keys([])
    assert first == keys([])
    others = [keys(["epochs=3"]), keys([], draw=1), keys([], dtype="bfloat16"), keys([], size=6), keys(["knowledge="])]
    assert len({first, *others}) == 6
