"""Customers' messages with the label they carry: what a classifier learns from.

From transcripts, whose `labels` name a message each, read and mended as for other adapters (`formats.py`, `turns.py`), and
from tables (`*.csv`) with the columns `text` and `label`, or `category`, or the task's own name. Each message is read
alone, without what was said before it. A conversation falls to one part as a whole, as in `split.py`; a table's rows are
conversations of one message.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bot.errors import BotError, DataError
from bot.files import sha256_file
from bot.limits import check_text
from bot.personal.scrub import scrub, scrub_remark
from bot.training.formats import BadRow, RawRow, read_rows
from bot.training.split import is_held_out
from bot.training.turns import mend
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
        files[path.name] = sha256_file(path)
        for number, found in _table(path, task, clean_personal_data) or _transcripts(path, task, clean_personal_data):
            if isinstance(found, str):
                bad.append(BadRow(path.name, number, scrub_remark(found) if clean_personal_data else found))
            else:
                rows += [row for row in found if row.label]
                unlabelled += sum(not row.label for row in found)
    if not rows:
        first = f" The first bad row: {bad[0]}." if bad else ""
        raise DataError(f"No message in {folder} has a label for {task}.{first}", "Label them, or set another task.")
    return LabelledRows(tuple(rows), tuple(bad), files, unlabelled)


Found = Iterator[tuple[int, list[Labelled] | str]]
"""Line → its messages, the label "" where it has none, or the reason why it cannot be used."""


def _transcripts(path: Path, task: str, clean: bool) -> Found:
    for row in read_rows(path):
        if isinstance(row, BadRow):
            yield row.line, row.reason
            continue
        try:
            yield row.line, _of_conversation(row, task, clean)
        except BotError as error:
            yield row.line, error.what


def _of_conversation(row: RawRow, task: str, clean: bool) -> list[Labelled]:
    said = [text for _, text in row.turns]
    turns = zip([who for who, _ in row.turns], scrub(said, Counter()) if clean else said, strict=True)
    mended = mend(replace(row, turns=tuple(turns)), Counter())
    labels = {label.turn: label.values.get(task, "").strip() for label in mended.labels}
    conversation = row.id or content_hash(*(message.content for message in mended.messages))[:16]
    return [
        Labelled(conversation, message.content, labels.get(turn, ""))
        for turn, message in enumerate(mended.messages)
        if message.role == "user"
    ]


def _table(path: Path, task: str, clean: bool) -> Found | None:
    """The rows of a table of texts and labels; None for any other file."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        return None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = reader.fieldnames or ()
    except csv.Error:
        return None
    if path.suffix != ".csv" or "text" not in columns:
        return None
    column = next((name for name in (task, "label", "category") if name in columns), None)
    if column is None:
        raise DataError(f"{path} has the columns {', '.join(columns)}; it needs text and label.", f"Or category, or {task}.")
    return _rows(reader, column, clean)


def _rows(reader: csv.DictReader[str], column: str, clean: bool) -> Found:
    try:
        for row in reader:
            try:
                text = check_text(row["text"] or "", "the text")
                text = scrub([text], Counter())[0] if clean else text
                # The same text is one conversation, so that no copy of it judges what learned from the other.
                yield reader.line_num, [Labelled(content_hash(text)[:16], text, (row[column] or "").strip())]
            except BotError as error:
                yield reader.line_num, error.what
    except csv.Error as error:
        yield reader.line_num, f"not valid CSV ({error}); nothing after this line is read"


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
