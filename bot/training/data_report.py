"""`bot data report`: what a folder of transcripts holds, what was left out of it and why, as figures and as one page.

The page needs neither scripts nor other files, and holds placeholders where personal data was. Figures are of what
training would see: the same reading, the same split.
"""

from __future__ import annotations

import datetime
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bot.errors import DataError
from bot.files import write_atomic
from bot.training.labels import Conflict, balance, conflicts, rare
from bot.training.pages import render
from bot.training.recipe import Recipe, read_recipe
from bot.training.split import split, stratum
from bot.training.transcripts import Conversation, Transcripts, read_transcripts

HELD_OUT = Recipe.model_fields["held_out"].default
_MOST = 500
"""Rows of one table of the page; the JSON has all."""


@dataclass(frozen=True)
class DataReport:
    """`strata` is stratum → (training, held out). `words` are of one message, by who says it."""

    name: str
    transcripts: Transcripts
    scrubbed: bool
    share: float
    turns: list[int]
    words: dict[str, list[int]]
    balance: dict[str, dict[str, int]]
    warnings: list[str]
    conflicts: list[Conflict]
    strata: dict[str, tuple[int, int]]

    def as_dict(self) -> dict[str, Any]:
        """As JSON takes it: every figure, every row left out, nothing of what was said but in conflicts."""
        return {
            "name": self.name,
            "files": self.transcripts.files,
            "conversations": len(self.transcripts.conversations),
            "messages": sum(self.turns),
            "bad_rows": [str(row) for row in self.transcripts.bad],
            "duplicates": [str(row) for row in self.transcripts.duplicates],
            "mended": self.transcripts.mended,
            "personal_data": self.transcripts.personal if self.scrubbed else None,
            "words": {who: {"median": median(counts), "most": max(counts)} for who, counts in self.words.items()},
            "labels": self.balance,
            "warnings": self.warnings,
            "conflicts": [asdict(conflict) for conflict in self.conflicts],
            "held_out": self.share,
            "strata": self.strata,
        }

    def as_text(self) -> str:
        """The figures in a few lines, for a terminal."""
        found = self.transcripts
        training, held_out = (sum(counts[part] for counts in self.strata.values()) for part in (0, 1))
        lines = [
            f"{len(found.conversations):,} conversations, {sum(self.turns):,} messages, from {len(found.files)} files",
            f"{training:,} to train on, {held_out:,} held out, in {len(self.strata)} strata",
            f"{len(found.bad):,} rows cannot be used, {len(found.duplicates):,} are duplicates",
            *(f"{count:,} {what}" for what, count in found.mended.items()),
            "personal data: " + self._personal(),
            f"{len(self.conflicts):,} conflicting labels, {len(self.warnings):,} rare ones",
        ]
        return "\n".join(lines)

    def _personal(self) -> str:
        if not self.scrubbed:
            return "left as it is (scrub: false)"
        return ", ".join(f"{count:,} {kind.lower()}" for kind, count in self.transcripts.personal.items()) or "none found"


def examine(path: Path) -> DataReport:
    """What a recipe's transcripts, or those of a folder under the usual rules, hold. Raises DataError where there are
    none that can be used."""
    recipe = read_recipe(path) if path.is_file() else None
    if recipe is None and not path.is_dir():
        raise DataError(f"{path} does not exist.", "Name a recipe.yaml or a folder with transcripts.")
    folder = path.parent / recipe.data if recipe else path
    name = path.resolve().parent.name if recipe else path.resolve().name
    found = read_transcripts(folder, recipe.scrub, recipe.nearly_the_same) if recipe else read_transcripts(folder)
    share = recipe.held_out if recipe else HELD_OUT
    counts = balance(found.conversations)
    words = {
        who: [
            len(message.content.split()) for talk in found.conversations for message in talk.messages if message.role == role
        ]
        for who, role in (("customer", "user"), ("agent", "assistant"))
    }
    return DataReport(
        name,
        found,
        recipe.scrub if recipe else True,
        share,
        [len(talk.messages) for talk in found.conversations],
        words,
        counts,
        rare(counts),
        conflicts((*found.conversations, *found.left_out)),
        _strata(found.conversations, share),
    )


def _strata(conversations: tuple[Conversation, ...], share: float) -> dict[str, tuple[int, int]]:
    try:
        parts = split(conversations, share)
    except DataError:
        # Too few to split is for the page to show, not to hide behind.
        parts = (conversations, ())
    counted = [Counter(stratum(talk) or "no label" for talk in part) for part in parts]
    names = sorted({*counted[0], *counted[1]}, key=lambda name: (-counted[0][name] - counted[1][name], name))
    return {name: (counted[0][name], counted[1][name]) for name in names}


def write_page(report: DataReport, path: Path) -> None:
    """One HTML page at `path`, in one step."""
    from bot.training.data_plots import bars, histogram, shares

    page = render(
        Path(__file__).with_name("data_page.html.jinja"),
        report=report,
        figures=report.as_dict(),
        most=_MOST,
        made=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        turns=histogram({"messages": report.turns}, "messages in a conversation", "conversations"),
        words=histogram(report.words, "words in a message", "messages"),
        labels={key: bars(counts, "messages") for key, counts in report.balance.items()},
        personal=bars(report.transcripts.personal, "places") if report.transcripts.personal else "",
        split=shares(report.strata),
    )
    write_atomic(path, page)
