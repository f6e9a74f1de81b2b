"""Transcript files → raw rows, whatever the format: OpenAI messages, ShareGPT, Alpaca, CSV. adapters/README.md tells them.

A JSONL row's format is known by its keys, a CSV's by its header. Who speaks is left as the file writes it. A row that
cannot be read is a `BadRow` and the rest goes on; so is a file. Knows nothing of what makes a conversation usable.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import from_json

from bot.errors import DataError, faults

LABELS = ("intent", "sentiment", "handoff")
"""What a CSV's columns may say of a customer's message."""
_EXCHANGE = (
    ("prompt", "question", "user", "customer", "instruction"),
    ("answer", "reply", "response", "assistant", "agent", "completion", "output"),
)
_BY_TURN = (("conversation_id", "conversation"), ("role", "speaker", "from"), ("content", "text", "message", "value"))
_OTHERS = {".json", ".tsv", ".xlsx", ".parquet", ".gz", ".zip"}
"""Files that were surely meant to be read."""


@dataclass(frozen=True, slots=True)
class BadRow:
    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Label:
    """What is known of the customer's message at index `turn`: "intent" → "start_return"."""

    turn: int
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RawRow:
    """A conversation as the file has it. `turns` are (who, what was said)."""

    file: str
    line: int
    id: str
    turns: tuple[tuple[str, str], ...]
    labels: tuple[Label, ...] = ()


class _Part(BaseModel):
    type: str
    text: str = ""


class _Message(BaseModel):
    role: str
    content: str | list[_Part]

    def text(self) -> str:
        if isinstance(self.content, str):
            return self.content
        if other := next((part.type for part in self.content if part.type != "text"), ""):
            raise DataError(f"a message has a part of type {other!r}; only text is learned")
        return "\n".join(part.text for part in self.content)


class _LabelRow(BaseModel, extra="allow"):
    turn: int


class _OpenAI(BaseModel):
    """Other keys are for other readers."""

    id: str | int = ""
    messages: list[_Message] = Field(min_length=2)
    labels: list[_LabelRow] = []

    def turns(self) -> Iterator[tuple[str, str]]:
        yield from ((message.role, message.text()) for message in self.messages)


class _Said(BaseModel):
    who: str = Field(alias="from")
    value: str


class _ShareGPT(BaseModel):
    id: str | int = ""
    conversations: list[_Said] = Field(min_length=2)
    labels: list[_LabelRow] = []

    def turns(self) -> Iterator[tuple[str, str]]:
        yield from ((said.who, said.value) for said in self.conversations)


class _Alpaca(BaseModel):
    id: str | int = ""
    instruction: str
    input: str = ""
    output: str
    history: list[tuple[str, str]] = []
    system: str = ""
    labels: list[_LabelRow] = []

    def turns(self) -> Iterator[tuple[str, str]]:
        if self.system:
            yield "system", self.system
        for asked, answered in self.history:
            yield from (("user", asked), ("assistant", answered))
        yield "user", "\n".join(part for part in (self.instruction, self.input) if part)
        yield "assistant", self.output


_SHAPES: dict[str, type[_OpenAI | _ShareGPT | _Alpaca]] = {
    "messages": _OpenAI,
    "conversations": _ShareGPT,
    "instruction": _Alpaca,
}


def read_rows(path: Path) -> Iterator[RawRow | BadRow]:
    """The rows of one file, in order. Raises OSError alone."""
    if path.suffix == ".jsonl":
        yield from _jsonl(path)
    elif path.suffix == ".csv":
        yield from _csv(path)
    elif path.suffix in _OTHERS:
        yield BadRow(path.name, 1, f"a {path.suffix} file is not read; save it as .jsonl or .csv")


def _jsonl(path: Path) -> Iterator[RawRow | BadRow]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if number == 1:
                if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    yield BadRow(path.name, 1, "the file is UTF-16; save it as UTF-8")
                    return
                line = line.removeprefix(codecs.BOM_UTF8)
            if not line.strip():
                continue
            try:
                yield _parse(line, path.name, number)
            except DataError as error:
                yield BadRow(path.name, number, error.what)


def _parse(line: bytes, file: str, number: int) -> RawRow:
    """Raises DataError with the reason."""
    try:
        value: Any = from_json(line)
    except ValueError as error:
        raise DataError(f"it is not valid JSON in UTF-8: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"it is a {type(value).__name__}, not a JSON object")
    shape = next((_SHAPES[key] for key in _SHAPES if key in value), None)
    if shape is None:
        raise DataError("it has neither messages (OpenAI), conversations (ShareGPT) nor instruction (Alpaca)")
    try:
        row = shape.model_validate(value)
    except ValidationError as error:
        raise DataError(faults(error)) from None
    labels = (
        Label(label.turn, {key: _word(value) for key, value in (label.model_extra or {}).items()}) for label in row.labels
    )
    return RawRow(file, number, str(row.id).strip(), tuple(row.turns()), tuple(labels))


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


@dataclass
class _Group:
    line: int
    turns: list[tuple[str, str]] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)


def _csv(path: Path) -> Iterator[RawRow | BadRow]:
    """Rows of one exchange each, or rows of one message each that their conversation's id holds together."""
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        yield BadRow(path.name, line, "the file is not UTF-8; save it as UTF-8, none of it is read")
        return
    if not text.strip():
        return
    groups: dict[str, _Group] = {}
    line = 1
    try:
        reader, columns = _open_csv(text)
        for cells in reader:
            # Where the row begins: a quoted cell may hold line breaks.
            start, line = line + 1, reader.line_num
            if not any(cell.strip() for cell in cells):
                continue
            row = dict(zip(columns, cells, strict=False))
            if len(cells) != len(columns):
                yield BadRow(path.name, start, f"it has {len(cells)} cells; the header has {len(columns)}")
            elif "conversation" in row:
                group = groups.setdefault(row["conversation"], _Group(start))
                group.labels += _cell_labels(row, len(group.turns))
                group.turns.append((row["role"], row["content"]))
            else:
                turns = (("user", row["asked"]), ("assistant", row["answered"]))
                yield RawRow(path.name, start, row.get("id", "").strip(), turns, tuple(_cell_labels(row, 0)))
    except (csv.Error, DataError) as error:
        reason = error.what if isinstance(error, DataError) else f"not valid CSV ({error}); nothing after this line is read"
        yield BadRow(path.name, line + 1 if isinstance(error, csv.Error) else 1, reason)
    for name, group in groups.items():
        yield RawRow(path.name, group.line, name.strip(), tuple(group.turns), tuple(group.labels))


def _open_csv(text: str) -> tuple[Any, list[str]]:
    """The rows after the header, and what each column is. Raises DataError where the header says nothing known."""
    for delimiter in ",;\t":
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        columns = [cell.strip().lower() for cell in next(reader)]
        for wanted, names in ((_BY_TURN, ("conversation", "role", "content")), (_EXCHANGE, ("asked", "answered"))):
            found = [next((word for word in words if word in columns), None) for words in wanted]
            if None not in found:
                known = dict(zip(found, names, strict=True))
                return reader, [known.get(column, column) for column in columns]
    raise DataError(
        "the header has neither conversation_id, role and content nor a column for the customer"
        f" ({', '.join(_EXCHANGE[0])}) and one for the agent ({', '.join(_EXCHANGE[1])})"
    )


def _cell_labels(row: dict[str, str], turn: int) -> Iterator[Label]:
    values = {key: row[key].strip() for key in LABELS if row.get(key, "").strip()}
    if values:
        yield Label(turn, values)
