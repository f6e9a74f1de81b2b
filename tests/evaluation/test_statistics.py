"""Intervals hold as often as they say, also together; ties are ties, differences are found, and order plays no part."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.evaluation.choice import between
from bot.evaluation.measured import COUNT, FACTS_RIGHT, REFERENCE_COST, SHARE, Better, Measured
from bot.evaluation.statistics import FEWEST, compare
from bot.evaluation.words import figure_of

Values = dict[str, tuple[float | None, ...]]


def measured(
    values: Values, conversations: tuple[str, ...], better: Better = "higher", name: str = FACTS_RIGHT, **more: object
) -> Measured:
    return Measured(name, more.pop("unit", SHARE), better, conversations, values, **more)  # type: ignore[arg-type]


def drawn(random: np.random.Generator, kind: str, count: int, arms: int) -> Measured:
    """Conversations of one to four turns, whose turns hang together, with arms that are all alike in truth."""
    sizes = random.integers(1, 5, count)
    names = tuple(f"c{number}" for number, size in enumerate(sizes) for _ in range(size))
    own = np.repeat(random.standard_normal((count, arms)), sizes, axis=0)
    mixed = 0.6 * own + 0.8 * random.standard_normal(own.shape)
    values = {"normal": mixed, "skewed": np.exp(mixed), "binary": (mixed > 0.25).astype(float)}[kind]
    return measured({f"a{n}": tuple(values[:, n].tolist()) for n in range(arms)}, names, unit="")


@pytest.mark.parametrize(
    ("kind", "truth", "least"), [("normal", 0.0, 0.92), ("skewed", np.exp(0.5), 0.87), ("binary", 0.4013, 0.92)]
)
@pytest.mark.parametrize("count", [20, 40])
def test_a_figures_interval_holds_the_truth_as_often_as_it_says(kind: str, truth: float, least: float, count: int) -> None:
    random = np.random.default_rng(5)
    held = []
    for _ in range(25):
        for figure in compare([drawn(random, kind, count, 10)], "")[0].figures:
            assert figure.low is not None
            assert figure.high is not None
            held.append(figure.low <= truth <= figure.high)
    assert np.mean(held) >= least


@pytest.mark.parametrize("kind", ["normal", "skewed", "binary"])
@pytest.mark.parametrize("count", [20, 30])
def test_among_equal_arms_hardly_one_evaluation_in_twenty_tells_any_two_apart(kind: str, count: int) -> None:
    random = np.random.default_rng(6)
    wrong = [
        any(found.verdict != "tie" for found in compare([drawn(random, kind, count, 8)], "a0")[0].comparisons)
        for _ in range(60)
    ]
    assert np.mean(wrong) <= 0.1


def test_known_differences_are_found_and_duplicates_tie() -> None:
    random = np.random.default_rng(0)
    names = tuple(f"c{number // 2}" for number in range(60))
    base = random.random(60)
    values: Values = {
        "base": tuple(base.tolist()),
        "twin": tuple(base.tolist()),
        "good": tuple((base + 0.2 + 0.1 * random.standard_normal(60)).tolist()),
    }
    result = compare([measured(values, names)], "base")[0]
    pairs = {(found.arm, found.other): found for found in result.comparisons}
    assert list(pairs) == [("twin", "base"), ("good", "base"), ("twin", "good")]
    assert pairs["twin", "base"].verdict == "tie"
    assert (pairs["twin", "base"].low, pairs["twin", "base"].high, pairs["twin", "base"].needed) == (0, 0, None)
    assert pairs["good", "base"].verdict == "better"
    assert pairs["good", "base"].needed is None
    turned = compare([measured(values, names, "lower", REFERENCE_COST)], "base")[0]
    assert {found.verdict for found in turned.comparisons if "good" in (found.arm, found.other)} == {"worse", "better"}
    back = between(result, "good", "twin")
    assert back is not None
    assert back.mean == -pairs["twin", "good"].mean
    assert back.verdict == "better"
    assert (back.low, back.high) == (-pairs["twin", "good"].high, -pairs["twin", "good"].low)  # type: ignore[operator]


@settings(max_examples=25)
@given(seed=st.integers(0, 1000), data=st.data())
def test_the_order_of_items_and_of_arms_plays_no_part(seed: int, data: st.DataObject) -> None:
    found = drawn(np.random.default_rng(seed), "normal", 12, 3)
    items = data.draw(st.permutations(range(len(found.conversations))))
    arms = data.draw(st.permutations(list(found.values)))
    turned = dataclasses.replace(
        found,
        conversations=tuple(found.conversations[place] for place in items),
        values={arm: tuple(found.values[arm][place] for place in items) for arm in arms},
    )
    one, other = compare([found], "a0")[0], compare([turned], "a0")[0]
    for figure in one.figures:
        same = figure_of(other, figure.arm)
        assert same is not None
        assert (figure.mean, figure.low, figure.high) == pytest.approx((same.mean, same.low, same.high))
    for pair in one.comparisons:
        again = between(other, pair.arm, pair.other)
        assert again is not None
        assert (pair.mean, pair.low, pair.high) == pytest.approx((again.mean, again.low, again.high))
        assert pair.verdict == again.verdict


def test_means_are_weighted_and_pairs_share_their_items() -> None:
    values: Values = {"a": (1.0, 2.0, None), "b": (2.0, None, 7.0), "c": (None, None, None)}
    result = compare([measured(values, ("x", "x", "y"), unit="nats a token", weights=(3.0, 1.0, 2.0))], "b")[0]
    assert [(figure.arm, figure.mean, figure.count) for figure in result.figures] == [("a", 1.25, 2), ("b", 4.0, 2)]
    (pair,) = result.comparisons
    assert (pair.arm, pair.other, pair.mean) == ("a", "b", -1.0)
    assert result.conversations == ("x", "x", "y")
    assert result.weights == (3.0, 1.0, 2.0)


def test_too_few_conversations_have_no_interval_but_a_number_needed() -> None:
    random = np.random.default_rng(1)
    for count in (1, 2, FEWEST - 1):
        names = tuple(f"c{number % count}" for number in range(40))
        values: Values = {arm: tuple(random.random(40).tolist()) for arm in ("a", "b")}
        result = compare([measured(values, names)], "a")[0]
        (pair,) = result.comparisons
        assert (pair.verdict, pair.low, pair.high) == ("too few", None, None)
        assert pair.needed is not None
        assert pair.needed >= FEWEST
        assert {(figure.low, figure.high) for figure in result.figures} == {(None, None)}


def test_what_is_needed_is_enough() -> None:
    """A difference that a tie leaves open is found with as many conversations as it asks for, in most cases."""
    random = np.random.default_rng(3)

    def result(count: int) -> tuple[str, int | None]:
        names = tuple(f"c{number}" for number in range(count))
        base = random.standard_normal(count)
        values: Values = {"a": tuple(base.tolist()), "b": tuple((base + 0.3 + random.standard_normal(count)).tolist())}
        (pair,) = compare([measured(values, names, name="other", unit="")], "a")[0].comparisons
        return pair.verdict, pair.needed

    exact = ((1.96 + 0.84) / 0.3) ** 2
    assert 0.65 <= np.mean([result(round(exact))[0] == "better" for _ in range(60)]) <= 0.95
    needed = [needed for verdict, needed in (result(20) for _ in range(60)) if verdict == "tie" and needed]
    assert all(number > 20 for number in needed)


def test_a_share_stays_one_and_no_exception_in_thirty_is_no_proof() -> None:
    names = tuple(f"c{number}" for number in range(30))
    values: Values = {"all": (1.0,) * 30, "none": (0.0,) * 30, "one": (1.0,) + (0.0,) * 29}
    figures = {figure.arm: figure for figure in compare([measured(values, names)], "")[0].figures}
    assert figures["all"].high == 1.0
    assert figures["all"].low == pytest.approx(0.05 ** (1 / 30))
    assert figures["none"].low == 0.0
    assert figures["none"].high == pytest.approx(1 - 0.05 ** (1 / 30))
    assert figures["one"].low == 0.0
    counted = compare([measured({"one": (9.0,) + (0.0,) * 29}, names, unit=COUNT)], "")[0].figures[0]
    assert (counted.low, counted.mean) == (0.0, pytest.approx(0.3))


def test_the_same_seed_gives_the_same_numbers() -> None:
    found = drawn(np.random.default_rng(0), "skewed", 15, 4)
    assert compare([found], "a0") == compare([found], "a0")
    assert compare([found], "a0", 1) != compare([found], "a0")
    assert compare([measured({}, ())], "a0")[0].figures == ()
