"""Customers' messages with the label they carry: what a classifier learns from.

From transcripts (`*.jsonl`), whose `labels` name a message each, and from tables (`*.csv`) with the columns `text` and
`label`, or `category`, or the task's own name. Each message is read alone, without what was said before it. A
conversation falls to one part as a whole, as in `transcripts.py`; a table's rows are conversations of one message.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from bot.errors import BotError, DataError, faults
from bot.limits import MAX_MESSAGES, check_text
from bot.training.formats import BadRow
from bot.training.personal_data import scrub
from bot.training.split import is_held_out
from bot.types import content_hash

FEW = 5
"""A label with fewer messages to learn from is told of."""


@dataclass(frozen=True, slots=True)
class Labelled:
    conversation: str
    text: str
    label: str


@dataclass(frozen=True, slots=True)
class LabelledRows:
    """`files` are file name → sha256 of what was read; `unlabelled` are customers' messages without this label."""

    rows: tuple[Labelled, ...]
    bad: tuple[BadRow, ...]
    files: dict[str, str]
    unlabelled: int


@dataclass(frozen=True, slots=True)
class Parts:
    """`labels` are those of the training part, sorted; `remarks` say what to mend."""

    labels: tuple[str, ...]
    training: tuple[Labelled, ...]
    held_out: tuple[Labelled, ...]
    remarks: tuple[str, ...]


class _Message(BaseModel):
    role: str
    content: str


class _Row(BaseModel):
    id: str = ""
    messages: list[_Message] = Field(min_length=1, max_length=MAX_MESSAGES)
    labels: list[dict[str, Any]] = []


def read_labelled(folder: Path, task: str, clean_personal_data: bool = True) -> LabelledRows:
    """Every labelled message in `folder`. Raises DataError when there is none."""
    paths = sorted([*folder.glob("*.jsonl"), *folder.glob("*.csv")])
    if not paths:
        raise DataError(f"There is no .jsonl or .csv in {folder}.", "Put labelled messages there: adapters/README.md.")
    rows: list[Labelled] = []
    bad: list[BadRow] = []
    files: dict[str, str] = {}
    unlabelled = 0
    for path in paths:
        data = path.read_bytes()
        files[path.name] = hashlib.sha256(data).hexdigest()
        for number, found in (_table if path.suffix == ".csv" else _transcripts)(path, data, task, clean_personal_data):
            if isinstance(found, str):
                bad.append(BadRow(path.name, number, found))
            else:
                rows += [row for row in found if row.label]
                unlabelled += sum(not row.label for row in found)
    if not rows:
        first = f" The first bad row: {bad[0]}." if bad else ""
        raise DataError(f"No message in {folder} has a label for {task}.{first}", "Label them, or set another task.")
    return LabelledRows(tuple(rows), tuple(bad), files, unlabelled)


Found = Iterator[tuple[int, list[Labelled] | str]]
"""Line → its messages, the label "" where it has none, or the reason why it cannot be used."""


def _transcripts(path: Path, data: bytes, task: str, clean: bool) -> Found:
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                yield number, _of_conversation(_Row.model_validate_json(line), task, clean)
            except ValidationError as error:
                yield number, faults(error)
            except BotError as error:
                yield number, error.what


def _of_conversation(row: _Row, task: str, clean: bool) -> list[Labelled]:
    texts = [message.content for message in row.messages]
    texts = scrub(texts, Counter()) if clean else texts
    conversation = row.id.strip() or content_hash(*texts)[:16]
    asked = {number for number, message in enumerate(row.messages) if message.role == "user"}
    labels: dict[int, str] = {}
    for entry in row.labels:
        turn = entry.get("turn")
        if turn not in asked or turn in labels:
            raise DataError(f"a label's turn is {turn!r}; each is the place of another of the customer's messages")
        labels[turn] = _label(entry.get(task))
    return [
        Labelled(conversation, check_text(texts[turn], f"message {turn + 1}"), labels.get(turn, ""))
        for turn in sorted(asked)
    ]


def _label(value: Any) -> str:
    """YAML's and JSON's words for yes and no are labels too: true, false."""
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, str):
        return (value or "").strip()
    raise DataError(f"the label {value!r} is no text; write a word, true or false")


def _table(path: Path, data: bytes, task: str, clean: bool) -> Found:
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True)
        column = next((name for name in (task, "label", "category") if name in (reader.fieldnames or ())), None)
        if column is None or "text" not in (reader.fieldnames or ()):
            raise DataError(
                f"{path} has the columns {reader.fieldnames}; it needs text and label.", f"Or text and category, or {task}."
            )
        for row in reader:
            try:
                text = check_text(row["text"] or "", "the text")
                text = scrub([text], Counter())[0] if clean else text
                # The same text is one conversation, so that no copy of it judges what learned from the other.
                yield reader.line_num, [Labelled(content_hash(text)[:16], text, (row[column] or "").strip())]
            except BotError as error:
                yield reader.line_num, error.what
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV table in UTF-8: {error}.", "Save it as CSV, UTF-8.") from None


def parts_of(rows: Sequence[Labelled], share: float) -> Parts:
    """Training and held-out messages. Raises DataError where there is nothing to tell apart, or nothing to judge by."""
    held_out = [row for row in rows if is_held_out(row.conversation, share)]
    training = [row for row in rows if not is_held_out(row.conversation, share)]
    counts = Counter(row.label for row in training)
    if len(counts) < 2:
        raise DataError(
            f"The training part has {len(counts)} label ({', '.join(counts)}); a classifier tells two or more apart.",
            "Label more messages, set another task, or change held_out.",
        )
    unknown = Counter(row.label for row in held_out if row.label not in counts)
    remarks = [
        f"{label!r} has {count} messages to learn from; fewer than {FEW} teach little. Add some, or join it with another."
        for label, count in sorted(counts.items())
        if count < FEW
    ]
    remarks += [
        f"{label!r} has {count} held-out messages and none to learn from; they are left out. Add some."
        for label, count in sorted(unknown.items())
    ]
    judged = tuple(row for row in held_out if row.label in counts)
    if len({row.label for row in judged}) < 2:
        raise DataError(
            f"{len(judged)} held-out messages with fewer than two labels cannot judge a classifier.",
            "Add transcripts, or raise held_out.",
        )
    return Parts(tuple(sorted(counts)), tuple(training), judged, tuple(remarks))
