"""Labelled messages: read from transcripts and tables, told of where they cannot be used, split by conversation."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import DataError
from bot.training.labelled import Labelled, parts_of, read_labelled
from bot.training.scores import best_temperature, by_words, judge, loss, majority
from tests.conftest import ROOT

MESSAGES = [
    {"role": "user", "content": "where is my parcel"},
    {"role": "assistant", "content": "It comes."},
    {"role": "user", "content": "I want a person"},
    {"role": "assistant", "content": "A person takes over."},
]


def write(folder: Path, *labels: object) -> Path:
    row = {"id": "one", "messages": MESSAGES, "labels": list(labels)}
    (folder / "talk.jsonl").write_text(json.dumps(row) + "\n")
    return folder


def test_each_message_of_a_customer_is_read_with_its_label(tmp_path: Path) -> None:
    folder = write(tmp_path, {"turn": 0, "intent": "delivery", "handoff": False}, {"turn": 2, "handoff": True})
    assert read_labelled(folder, "handoff").rows == (
        Labelled("one", "where is my parcel", "false"),
        Labelled("one", "I want a person", "true"),
    )
    intents = read_labelled(folder, "intent")
    assert (intents.rows, intents.unlabelled) == ((Labelled("one", "where is my parcel", "delivery"),), 1)


def test_a_label_that_stands_at_no_message_of_the_customers_names_none(tmp_path: Path) -> None:
    for turn in (1, 9):
        folder = write(tmp_path, {"turn": turn, "intent": "a"}, {"turn": 0, "intent": "b"})
        read = read_labelled(folder, "intent")
        assert (read.rows, read.unlabelled) == ((Labelled("one", "where is my parcel", "b"),), 1)


def test_a_bad_row_is_told_with_file_and_line(tmp_path: Path) -> None:
    folder = write(tmp_path, {"intent": "a"})
    (folder / "more.jsonl").write_text(json.dumps({"messages": MESSAGES, "labels": [{"turn": 0, "intent": "x"}]}) + "\n{\n")
    read = read_labelled(folder, "intent")
    assert len(read.rows) == 1
    assert [f"{bad.file}:{bad.line}" for bad in read.bad] == ["more.jsonl:2", "talk.jsonl:1"]
    assert "labels.0.turn" in read.bad[1].reason


def test_transcripts_of_other_formats_are_read_too_and_nobodys_data_is_kept(tmp_path: Path) -> None:
    (tmp_path / "talk.csv").write_text(
        "conversation_id,role,content,intent\n1,Customer,mail a@example.org,contact\n1,Agent,Done.,\n"
    )
    assert [(row.text, row.label) for row in read_labelled(tmp_path, "intent").rows] == [("mail [EMAIL_1]", "contact")]
    assert "a@example.org" in read_labelled(tmp_path, "intent", clean_personal_data=False).rows[0].text


def test_nobodys_data_is_in_what_is_said_of_a_bad_row(tmp_path: Path) -> None:
    messages = [{"role": "jane.doe@example.org", "content": "hi"}, {"role": "assistant", "content": "Yes."}]
    (tmp_path / "bad.jsonl").write_text(json.dumps({"messages": messages}) + "\n")
    write(tmp_path, {"turn": 0, "intent": "a"})
    (bad,) = read_labelled(tmp_path, "intent").bad
    assert "neither customer nor agent" in bad.reason
    assert "jane.doe" not in bad.reason


@pytest.mark.parametrize("column", ["label", "category", "sentiment"])
def test_tables_are_read_too(tmp_path: Path, column: str) -> None:
    (tmp_path / "rows.csv").write_text(f'text,{column}\n"good, thanks",positive\n,negative\nbad,negative\nhm,\n')
    read = read_labelled(tmp_path, "sentiment")
    assert [(row.text, row.label) for row in read.rows] == [("good, thanks", "positive"), ("bad", "negative")]
    assert ([bad.line for bad in read.bad], read.unlabelled) == ([3], 1)


def test_what_cannot_be_read_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no \.jsonl or \.csv"):
        read_labelled(tmp_path, "intent")
    (tmp_path / "rows.csv").write_text("text,answer\na,b\n")
    with pytest.raises(DataError, match=r"needs text and label.*Or category, or intent"):
        read_labelled(tmp_path, "intent")
    (tmp_path / "rows.csv").write_bytes(b"text,label\n\xff,b\n")
    with pytest.raises(DataError, match=r"No message in .*first bad row: rows.csv:2: the file is not UTF-8"):
        read_labelled(tmp_path, "intent")
    (tmp_path / "rows.csv").write_text("text,label\nhello,\n")
    with pytest.raises(DataError, match=r"No message in .* has a label for intent"):
        read_labelled(tmp_path, "intent")


def rows(*labels: str, times: int = 40) -> list[Labelled]:
    return [Labelled(f"{label}-{number}", label, label) for label in labels for number in range(times)]


@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["a", "b", "c"])), min_size=1, max_size=60))
def test_a_conversation_is_never_in_both_parts_and_only_known_labels_judge(given_rows: list[tuple[int, str]]) -> None:
    made = [Labelled(str(number), "text", label) for number, label in given_rows]
    parts = None
    with contextlib.suppress(DataError):
        parts = parts_of(made, 0.4)
    if parts is None:
        return
    assert not {row.conversation for row in parts.training} & {row.conversation for row in parts.held_out}
    assert {row.label for row in parts.held_out} <= set(parts.labels) == {row.label for row in parts.training}


def test_rare_labels_are_told_of_and_one_label_is_an_error() -> None:
    parts = parts_of([*rows("a", "b"), *rows("rare", times=3)], 0.3)
    assert any("'rare' has" in remark and "Add some" in remark for remark in parts.remarks)
    with pytest.raises(DataError, match=r"1 label \(a\).*tells two or more apart.*Label more"):
        parts_of(rows("a"), 0.3)
    with pytest.raises(DataError, match=r"cannot judge a classifier.*raise held_out"):
        parts_of(rows("a", "b", times=2), 0.001)


@pytest.mark.parametrize("task", ["intent", "sentiment", "handoff"])
def test_every_shipped_transcript_is_labelled(task: str) -> None:
    for folder in sorted((ROOT / "adapters").glob("*/transcripts")):
        read = read_labelled(folder, task)
        assert (read.bad, read.unlabelled) == ((), 0)
        assert len(parts_of(read.rows, 0.15).labels) >= 2


def test_scores_are_those_of_the_definition() -> None:
    scores = judge(["a", "b", "b", "c"], ["a", "a", "b", "b"])
    assert scores.accuracy == 0.5
    assert scores.by_label == pytest.approx({"a": 2 / 3, "b": 0.5})
    assert scores.macro_f1 == pytest.approx((2 / 3 + 0.5) / 2)
    assert [(c.wanted, c.given, c.count) for c in scores.confusions] == [("a", "b", 1), ("b", "c", 1)]
    assert majority(["a", "a", "b"], ["a", "b"]).macro_f1 == pytest.approx(1 / 3)
    assert by_words([("red apple", "x"), ("blue sea", "y")], ["a red one", "the sea"], ["x", "y"]).accuracy == 1


def test_the_temperature_makes_shares_honest() -> None:
    import numpy as np

    chance = np.random.default_rng(0)
    logits = chance.normal(size=(4000, 3))
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    wanted = np.array([chance.choice(3, p=share) for share in shares])
    for sharpness in (0.5, 1, 4):
        assert best_temperature(logits * sharpness, wanted) == pytest.approx(sharpness, rel=0.15)
    assert loss(np.zeros((2, 4)), np.array([0, 3])) == pytest.approx(np.log(4))
