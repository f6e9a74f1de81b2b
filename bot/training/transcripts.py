"""Transcripts on disk → clean conversations: read, scrubbed of personal data, put in order, without duplicates; and their
split into training and held out. adapters/README.md says what a file looks like.

A row that cannot be used is reported with file, line and reason, and the rest goes on. Everything that says something of
a row, also why it was left out, holds placeholders where personal data was. Knows nothing of tokens.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from bot.errors import BotError, DataError
from bot.files import sha256_file
from bot.personal.scrub import scrub, scrub_remark
from bot.training.duplicates import alike, normalised
from bot.training.formats import BadRow, Label, RawRow, read_rows
from bot.training.turns import is_known, mend
from bot.types import Message, content_hash

NEARLY_THE_SAME = 0.9
"""Share of what two conversations say that makes them duplicates, unless a recipe says another."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Customer and agent in turn, beginning with the customer and ending with the agent."""

    id: str
    messages: tuple[Message, ...]
    labels: tuple[Label, ...] = ()
    """At most one for each customer's message, by its index in `messages`."""


@dataclass(frozen=True, slots=True)
class Transcripts:
    """`files` are file name → sha256 of what was read."""

    conversations: tuple[Conversation, ...]
    bad: tuple[BadRow, ...]
    files: dict[str, str]
    duplicates: tuple[BadRow, ...] = ()
    """Rows left out because another says the same."""
    left_out: tuple[Conversation, ...] = ()
    """Those conversations: their labels may contradict the kept ones'."""
    mended: dict[str, int] = field(default_factory=dict)
    """What was joined or left out within rows that were kept → how often."""
    personal: dict[str, int] = field(default_factory=dict)
    """Kind of personal data → places that became placeholders, in all rows that were read."""

    def remarks(self, most: int = 20) -> Iterator[str]:
        """What a log says of the reading: the first bad rows one by one, the rest in numbers."""
        yield from (str(row) for row in self.bad[:most])
        if len(self.bad) > most:
            yield f"… and {len(self.bad) - most:,} more rows that cannot be used; bot data report names them all."
        if self.duplicates:
            yield f"{len(self.duplicates):,} conversations say the same as another and are left out."
        yield from (f"{count:,} {what}." for what, count in self.mended.items())
        if self.personal:
            yield "Personal data became placeholders: " + ", ".join(
                f"{count:,} {kind.lower()}" for kind, count in self.personal.items()
            )


def read_transcripts(
    folder: Path, clean_personal_data: bool = True, nearly_the_same: float = NEARLY_THE_SAME
) -> Transcripts:
    """Every `*.jsonl` and `*.csv` in `folder`. `nearly_the_same` is the share from which a conversation is a duplicate of
    an earlier one, 1 meaning the same words. Raises DataError when there is no file, or no row that can be used."""
    paths = sorted(path for path in folder.glob("*") if path.is_file() and not path.name.startswith("."))
    if not any(path.suffix in (".jsonl", ".csv") for path in paths):
        raise DataError(
            f"There are no transcripts in {folder}.", "Put .jsonl or .csv files there; adapters/README.md says how."
        )
    reading = _Reading(clean_personal_data)
    files: dict[str, str] = {}
    for path in paths:
        for row in read_rows(path):
            reading.take(row)
        if path.suffix in (".jsonl", ".csv"):
            files[path.name] = sha256_file(path)
    kept, nearly = reading.without_nearly_the_same(nearly_the_same)
    bad = tuple(reading.bad)
    if not kept:
        raise DataError(f"No row in {folder} can be used. The first: {bad[0] if bad else 'none, the files are empty'}.")
    duplicates = tuple(sorted([*reading.duplicates, *nearly], key=lambda row: (row.file, row.line)))
    return Transcripts(
        kept, bad, files, duplicates, tuple(reading.left_out), dict(reading.mended), dict(sorted(reading.personal.items()))
    )


class _Reading:
    """What was read so far."""

    def __init__(self, clean_personal_data: bool) -> None:
        self._clean = clean_personal_data
        self._kept: dict[str, Conversation] = {}
        self._places: dict[str, tuple[str, int]] = {}
        self._said: dict[str, str] = {}
        self.bad: list[BadRow] = []
        self.duplicates: list[BadRow] = []
        self.left_out: list[Conversation] = []
        self.mended: Counter[str] = Counter()
        self.personal: Counter[str] = Counter()

    def take(self, row: RawRow | BadRow) -> None:
        if isinstance(row, BadRow):
            self.bad.append(self._told(row))
            return
        row = self._scrubbed(row)
        try:
            mended = mend(row, self.mended)
        except BotError as error:
            self.bad.append(self._told(BadRow(row.file, row.line, error.what)))
            return
        said = "\n".join(f"{message.role}: {normalised(message.content)}" for message in mended.messages)
        name = row.id or content_hash(*(message.content for message in mended.messages))[:16]
        conversation = Conversation(name, mended.messages, mended.labels)
        first = self._said.setdefault(said, f"{row.file}:{row.line}")
        if first != f"{row.file}:{row.line}":
            self.duplicates.append(BadRow(row.file, row.line, f"the same as {first}"))
            self.left_out.append(conversation)
        elif name in self._kept:
            self.bad.append(BadRow(row.file, row.line, f"the id {name!r} stands twice"))
        else:
            self._kept[name] = conversation
            self._places[name] = (row.file, row.line)

    def _scrubbed(self, row: RawRow) -> RawRow:
        """Before anything else sees the text. An id that is itself somebody's data is known by its hash."""
        if not self._clean:
            return row
        texts = scrub([text for _, text in row.turns], self.personal)
        turns = tuple(
            (who if is_known(who) else scrub_remark(who), text) for (who, _), text in zip(row.turns, texts, strict=True)
        )
        named = row.id if scrub_remark(row.id) == row.id else content_hash(row.id)[:16]
        return replace(row, id=named, turns=turns)

    def _told(self, row: BadRow) -> BadRow:
        return replace(row, reason=scrub_remark(row.reason)) if self._clean else row

    def without_nearly_the_same(self, threshold: float) -> tuple[tuple[Conversation, ...], list[BadRow]]:
        if threshold >= 1:
            return tuple(self._kept.values()), []
        names = list(self._kept)
        texts = ["\n".join(message.content for message in self._kept[name].messages) for name in names]
        left_out: list[BadRow] = []
        for number, earlier, share in alike(texts, threshold):
            file, line = self._places[names[earlier]]
            left_out.append(BadRow(*self._places[names[number]], f"{share:.0%} the same as {file}:{line}"))
            self.left_out.append(self._kept.pop(names[number]))
        return tuple(self._kept.values()), left_out
