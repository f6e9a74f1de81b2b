"""Bad rows are named and the rest goes on; what support exports have is put in order; nothing is read twice."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from bot.errors import DataError
from bot.training.formats import Label
from bot.training.recipe import read_recipe
from bot.training.transcripts import Transcripts, read_transcripts
from bot.types import Message
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
        (json.dumps({"messages": [{"role": "Supervisor", "content": "hi"}, *talk("a", "b")]}), "'Supervisor'"),
        (json.dumps({"messages": [{"role": "tool", "content": "{}"}, *talk("a", "b")]}), "neither customer nor agent"),
        (json.dumps({"messages": talk("a", "b")[::-1]}), "no message of a customer is answered"),
        (json.dumps({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, *talk("a", "b")]}), "'image_url'"),
        (
            json.dumps({"conversations": [{"from": "human", "value": 3}, {"from": "gpt", "value": "b"}]}),
            "conversations.0.value",
        ),
        (json.dumps({"instruction": "a"}), "output"),
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
    assert [conversation.id for conversation in found.conversations] == ["r-001", "r-002"], found
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


HELLO = (Message("user", "Where is it?"), Message("assistant", "On its way."))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("openai.jsonl", json.dumps({"messages": talk("Where is it?", "On its way.")})),
        ("parts.jsonl", json.dumps({"messages": [{"role": "user", "content": [{"type": "text", "text": "Where is it?"}]}, *talk("", "On its way.")[1:]]})),
        ("mark.jsonl", "\ufeff" + json.dumps({"messages": talk("Where is it?", "On its way.")})),
        ("sharegpt.jsonl", json.dumps({"conversations": [{"from": "human", "value": "Where is it?"}, {"from": "gpt", "value": "On its way."}]})),
        ("alpaca.jsonl", json.dumps({"instruction": "Where is it?", "input": "", "output": "On its way.", "system": "Help."})),
        ("history.jsonl", json.dumps({"instruction": "Where is it?", "output": "On its way.", "history": []})),
        ("pair.csv", "Prompt,Answer\nWhere is it?,On its way.\n"),
        ("excel.csv", "\ufeffquestion;reply\r\nWhere is it?;On its way.\r\n"),
        ("turns.csv", "conversation_id,role,content\n7,customer,Where is it?\n7,Agent,On its way.\n"),
    ],
)  # fmt: skip
def test_every_format_says_the_same(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    found = read_transcripts(tmp_path)
    assert [conversation.messages for conversation in found.conversations] == [HELLO], found.bad
    assert not found.bad


def test_alpaca_has_what_came_before_and_csv_its_labels(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"instruction": "c", "input": "d", "output": "e", "history": [["a", "b"]]}))
    (tmp_path / "b.csv").write_text(
        "conversation_id,speaker,text,intent\n1,user,Hello there,greeting\n2,user,Where,delivery\n1,bot,Hi,\n2,bot,Here,\n"
    )
    first, second, third = read_transcripts(tmp_path).conversations
    assert [message.content for message in first.messages] == ["a", "b", "c\nd", "e"]
    assert (second.id, second.labels) == ("1", (Label(0, {"intent": "greeting"}),))
    assert (third.id, third.labels) == ("2", (Label(0, {"intent": "delivery"}),))


def test_a_broken_file_is_a_line_of_the_report_and_the_others_go_on(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"question,answer\nok,\xff\n")
    (tmp_path / "b.csv").write_text('question,answer\nwhy,because\n"half" open,x\nnever,read\n')
    (tmp_path / "c.csv").write_text("one,two\n1,2\n")
    (tmp_path / "d.csv").write_text("question,answer\nonly one\nhow,so\n")
    (tmp_path / "e.jsonl").write_text(json.dumps(row(1)), encoding="utf-16")
    (tmp_path / "f.json").write_text("[]")
    found = read_transcripts(tmp_path)
    assert [str(bad).split(";")[0] for bad in found.bad] == [
        "a.csv:2: the file is not UTF-8",
        "b.csv:3: not valid CSV (',' expected after '\"')",
        found.bad[2].__str__(),
        "d.csv:2: it has 1 cells",
        "e.jsonl:1: the file is UTF-16",
        "f.json:1: a .json file is not read",
    ]
    assert "c.csv:1: the header has neither" in str(found.bad[2])
    assert [conversation.messages[0].content for conversation in found.conversations] == ["why", "how"]


def test_what_exports_have_is_put_in_order_and_counted(tmp_path: Path) -> None:
    turns = [
        ("System", "secret rules"),
        ("Agent", "Welcome!"),
        ("Customer", "hello"),
        ("customer", "my lamp is dark"),
        ("AGENT", "Which one?"),
        ("visitor", "the tall one"),
        ("chatbot", "Press reset."),
        ("client", "thanks"),
        ("client", "bye"),
    ]
    labels = [
        {"turn": 2, "intent": "greeting"},
        {"turn": 3, "intent": "light_offline"},
        {"turn": 5, "intent": "reset", "handoff": True},
    ]
    labels.append({"turn": 8, "intent": "thanks"})
    messages = [{"role": who, "content": text} for who, text in turns]
    found = read_transcripts(write(tmp_path, json.dumps({"messages": messages, "labels": labels})))
    (conversation,) = found.conversations
    assert [message.content for message in conversation.messages] == [
        "hello\nmy lamp is dark",
        "Which one?",
        "the tall one",
        "Press reset.",
    ]
    assert conversation.labels == (Label(0, {"intent": "greeting"}), Label(2, {"intent": "reset", "handoff": "true"}))
    assert sorted(found.mended.values()) == [1, 1, 1, 1, 2], found.mended


def duplicates(found: Transcripts) -> list[str]:
    return [str(row) for row in found.duplicates]


def test_of_those_that_say_the_same_the_first_is_kept(tmp_path: Path) -> None:
    long = "I bought the tall lamp three weeks ago and since yesterday it flickers whenever the heating in the room is switched on"
    rows = [
        talk(long, "Press reset."),
        talk(long.upper() + "!", "press  reset"),
        talk(long + " again", "Press reset."),
        talk("Why does it flicker?", "Press reset."),
    ]
    folder = write(tmp_path, *(json.dumps({"messages": said}) for said in rows))
    found = read_transcripts(folder)
    assert len(found.conversations) == 2
    assert duplicates(found)[0] == "a.jsonl:2: the same as a.jsonl:1"
    assert duplicates(found)[1].endswith("% the same as a.jsonl:1")
    assert len(found.left_out) == 2
    assert len(read_transcripts(folder, nearly_the_same=1).conversations) == 3


def test_remarks_name_the_first_bad_rows_and_count_the_rest(tmp_path: Path) -> None:
    found = read_transcripts(write(tmp_path, json.dumps(row(1)), *["{broken"] * 30))
    said = list(found.remarks(most=5))
    assert len(said) == 6
    assert said[0].startswith("a.jsonl:2: ")
    assert "25 more" in said[5]


def test_a_recipe_may_leave_the_text_as_it_is(recipe: Path) -> None:
    assert read_recipe(recipe).scrub
    folder = recipe.parent / "other"
    folder.mkdir()
    row = {"messages": [{"role": "user", "content": "mail a@example.org"}, {"role": "agent", "content": "ok"}]}
    (folder / "a.jsonl").write_text(json.dumps(row))
    assert read_transcripts(folder, clean_personal_data=False).conversations[0].messages[0].content == "mail a@example.org"
