"""Figures, names and steps are found in whatever way they are written; what nobody said is counted as wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.evaluation.measures.facts import facts, right, wrong
from bot.evaluation.measures.figures import figures
from bot.evaluation.measures.terms import Step, names, steps
from bot.starter.said import does_not_know, offers_a_person, states

REFERENCE = "You have 45 days from delivery. Next step: open the order LM-48213 and press Send back."


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("You have forty-five days.", {"45 day"}),
        ("within 3-5 business days", {"3 business day", "5 business day"}),
        ("two to three working days", {"2 business day", "3 business day"}),
        ("your bank may need 3 more days", {"3 day"}),
        ("a 45-day window until day 60", {"45 day", "60 day"}),
        ("$4.95, 4.95 dollars, 4,95 $, USD 4.95", {"$ 4.95"}),
        ("$1,250 or €1.00 or 79 cents", {"$ 1250", "€ 1", "79 cent"}),
        ("1 p.m., 13:00 and 10:30 am", {"13:00", "10:30"}),
        ("15 percent, 15%", {"15 %"}),
        ("LM-48213 and #12345, 502-2345678-9012345", {"LM-48213", "12345", "502-2345678-9012345"}),
        ("call +1 800 123 4567 or write to help@larkmoor.example", {"18001234567", "help@larkmoor.example"}),
        ("November 3rd is the 3rd of November", {"3 november"}),
        ("wait thirty seconds", {"30 second"}),
        ("2.4 GHz only", {"2.4 ghz"}),
        ("No one knows the first one, one moment.", set()),
        ("", set()),
    ],
)
def test_figures_have_one_form(text: str, found: set[str]) -> None:
    assert figures(text) == found


@given(st.integers(2, 999), st.sampled_from(["day", "business day", "hour", "month", "year", "week"]))
def test_a_number_with_its_unit_is_found_however_it_stands(number: int, unit: str) -> None:
    written = [
        f"It takes {number} {unit}s.",
        f"{number} {unit}s it is",
        f"({number} {unit}s)",
        f"about {number} {unit}s, or so",
    ]
    for text in written:
        assert figures(text) == {f"{number} {unit}"}, text


@given(st.integers(0, 9999), st.integers(0, 99))
def test_money_is_the_same_in_every_notation(whole: int, cents: int) -> None:
    ways = [f"${whole}.{cents:02}", f"{whole}.{cents:02} dollars", f"${whole},{cents:02}", f"${whole:,}.{cents:02}"]
    assert len({figures(f"It costs {way}.") for way in ways}) == 1
    assert len(figures(f"It costs {ways[0]}.")) == 1


@given(st.text(max_size=200))
def test_any_text_tells_its_own_facts_and_nothing_wrong(text: str) -> None:
    assert right(text, text) in (None, 1.0)
    assert {figure for figure in wrong(text, [text]) if figure in figures(text)} == set()


def test_names_stand_inside_sentences_and_buttons_are_whole() -> None:
    assert names(REFERENCE) == {"Send back"}
    assert names('Your Starter Set is there. Choose "Extra item" or press Where is my parcel on the order.') == {
        "Starter Set",
        "Extra item",
        "Where is my parcel",
    }
    assert names("Hello, I am sorry. Yes, OK.") == frozenset()


def test_steps_are_what_the_customer_does() -> None:
    assert steps(REFERENCE) == {
        Step("open", False, frozenset({"order", "lm-48213"})),
        Step("press", False, frozenset({"send", "back"})),
    }
    assert steps("Please tap Send back.") == steps("press Send back")
    assert steps("We send you the right lamp.") == steps("The check is done.") == frozenset()
    assert [
        step.negated
        for step in steps("You do not have to send it back to the shop, so keep the lamp.")
        if step.verb == "keep"
    ] == [False]
    assert all(step.negated for step in steps("Do not open the box."))


def test_share_of_the_facts_that_are_told() -> None:
    assert len(facts(REFERENCE)) == 5
    assert right(REFERENCE, REFERENCE) == 1
    assert right("Open your order LM-48213 in the app, tap Send back, you have forty-five days.", REFERENCE) == 1
    assert right("You have 45 hours. You can send it back.", REFERENCE) == 0
    assert right("Within 45 days.", REFERENCE) == pytest.approx(1 / 5)
    assert right("Anything", "You are welcome.") is None


def test_a_planted_wrong_fact_is_counted() -> None:
    sources = [REFERENCE, "Returns: The label costs $4.95.", "where is LM-11111, i ordered it 2 weeks ago"]
    assert wrong("You have 45 days, LM-11111 is 2 weeks old and the label costs 4.95 dollars.", sources) == set()
    assert wrong("You have 90 days.", sources) == {"90 day"}
    assert wrong("You have 45 business days.", sources) == {"45 business day"}
    assert wrong("Ask our Moonbase, press Undo now: LM-99999 costs $5.", sources) == {"Moonbase", "Undo", "LM-99999", "$ 5"}
    assert wrong("It says Larkmoor on it. Press Send back. 45 it is.", sources, ["Wren", "Larkmoor"]) == set()


def test_what_a_reply_says() -> None:
    assert does_not_know("I don’t have that.")
    assert not does_not_know("You have 45 days.")
    assert offers_a_person("A colleague takes over.")
    assert not offers_a_person("Press Send back.")
    assert states("It is 45 days.", "45 days")
    assert not states("It is 145 days.", "45 days")
