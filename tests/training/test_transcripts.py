"""Bad rows are named and the rest goes on; a conversation never changes sides."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import DataError
from bot.training.transcripts import Conversation, is_held_out, read_transcripts, split
from tests.training.conftest import row


def talk(*said: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text} for role, text in zip(("user", "assistant") * 9, said, strict=False)]


def write(folder: Path, *lines: str | bytes) -> Path:
    parts = [line if isinstance(line, bytes) else line.encode() for line in lines]
    (folder / "a.jsonl").write_bytes(b"\n".join(parts) + b"\n")
    return folder


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{broken", "JSON"),
        (b'{"messages": "\xff"}', "JSON"),
        ("[1, 2]", "object"),
        ('{"id": "x"}', "messages"),
        (json.dumps({"messages": talk("only me")}), "at least 2"),
        (json.dumps({"messages": [{"role": "Agent", "content": "hi"}, *talk("a", "b")]}), "messages.0.role"),
        (json.dumps({"messages": [{"role": "system", "content": "hi"}, *talk("a", "b")]}), "messages.0.role"),
        (json.dumps({"messages": talk("a", "b")[::-1]}), "message 1 is assistant"),
        (json.dumps({"messages": talk("a", "b", "c")}), "ends with the customer"),
        (json.dumps({"messages": talk("a", "  ")}), "message 2 is empty"),
        (json.dumps({"messages": talk("a" * 9_000, "b")}), "9,000 characters"),
        (json.dumps({"messages": talk(*["a" * 8_000] * 8)}), "64,000 characters"),
        ('{"messages": [{"role": "user", "content": "\\ud800"}, {"role": "assistant", "content": "b"}]}', "JSON"),
        (json.dumps({"id": "r-001", "messages": talk("a", "b")}), "stands twice"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_a_bad_row_is_reported_with_its_place_and_the_rest_goes_on(line: str | bytes, reason: str, tmp_path: Path) -> None:
    found = read_transcripts(write(tmp_path, json.dumps(row(1)), "", line, json.dumps(row(2))))
    assert [conversation.id for conversation in found.conversations] == ["r-001", "r-002"]
    assert len(found.bad) == 1
    assert str(found.bad[0]).startswith("a.jsonl:3: ")
    assert reason in found.bad[0].reason


def test_what_was_read_is_known_by_hash_and_a_row_without_id_by_its_content(tmp_path: Path) -> None:
    found = read_transcripts(
        write(tmp_path, json.dumps({"messages": talk("a", "b")}), json.dumps({"messages": talk("a", "c")}))
    )
    assert found.files == {"a.jsonl": hashlib.sha256((tmp_path / "a.jsonl").read_bytes()).hexdigest()}
    assert len({conversation.id for conversation in found.conversations}) == 2


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no transcripts"):
        read_transcripts(tmp_path)
    with pytest.raises(DataError, match=r"a\.jsonl:1"):
        read_transcripts(write(tmp_path, "{}"))


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


def test_the_held_out_share_is_about_what_was_asked_for() -> None:
    assert 0.13 < sum(is_held_out(f"returns-{n}", 0.15) for n in range(4000)) / 4000 < 0.17
    with pytest.raises(DataError, match="both parts"):
        split([Conversation("a", ())], 0.5)
