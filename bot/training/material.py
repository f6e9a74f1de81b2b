"""What a run learns from and is judged by: transcripts read, split, rendered, and measured against the longest row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import TYPE_CHECKING

from bot.errors import DataError
from bot.knowledge.store import MemoryStore
from bot.prompts.select import NOTHING, LeftOut
from bot.prompts.version import PromptVersion
from bot.runs.progress import Progress, Step
from bot.training.augment import augmented
from bot.training.canary import canary_conversations
from bot.training.dataset import Renderer, Row
from bot.training.recipe import Recipe
from bot.training.rooms import Rooms
from bot.training.split import split
from bot.training.transcripts import Transcripts, read_transcripts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Material:
    """`snapshot` is the knowledge collection's hash, "" where none is used."""

    transcripts: Transcripts
    conversations: tuple[int, int]
    """Training, augmented ones not counted, and held out."""
    training: list[Row]
    held_out: list[Row]
    too_long: int
    snapshot: str
    canaries: list[Row]
    """Made-up rows that are trained on with the others and counted nowhere."""


async def gather(
    folder: Path,
    recipe: Recipe,
    prompt: PromptVersion,
    desk: Rooms,
    tokenizer: PreTrainedTokenizerBase,
    progress: Progress,
) -> Material:
    """Transcripts → rows, with bad and too long ones told. Passages come from an index in memory, so a running server
    keeps its own."""
    transcripts = read_transcripts(folder, recipe.scrub, recipe.nearly_the_same)
    for remark in transcripts.remarks():
        progress.note(remark)
    training, held_out = split(transcripts.conversations, recipe.held_out)
    counts = (len(training), len(held_out))
    parts = (augmented(training, recipe.augment, recipe.seed), held_out)
    longest = max(0, recipe.max_tokens - (recipe.virtual_tokens if recipe.method == "soft-prompt" else 0))
    knowledge = desk.knowledge_on(MemoryStore())
    try:
        unseen = reduce(or_, (LeftOut.of(c.id, c.messages) for c in held_out), NOTHING)
        renderer = Renderer(
            tokenizer, prompt.prompt, knowledge, recipe.knowledge, desk.settings.passages, longest, desk.selector, unseen
        )
        total = sum(len(c.messages) // 2 for part in parts for c in part)
        rows: list[list[Row]] = [[], []]
        read = 0
        for number, part in enumerate(parts):
            async for row in renderer.rows(part):
                rows[number].append(row)
                read += len(row.exchanges)
                progress.step(Step("reading", read, total))
        planted = [row async for row in renderer.rows(canary_conversations(recipe.seed, recipe.canaries))]
        snapshot = knowledge.snapshot(recipe.knowledge) if recipe.knowledge else ""
    finally:
        knowledge.close()
    kept, kept_held_out, canaries = ([row for row in part if len(row.ids) <= longest] for part in (*rows, planted))
    too_long = total - sum(len(row.exchanges) for row in (*kept, *kept_held_out))
    if too_long:
        progress.note(f"{too_long} of {total} replies are longer than {longest:,} tokens and are left out.")
    if not kept or not kept_held_out:
        raise DataError(
            f"{too_long} of {total} replies are longer than {longest:,} tokens; too few are left.",
            "Raise max_tokens, lower virtual_tokens, or shorten the prompt.",
        )
    if len(canaries) < recipe.canaries:
        raise DataError(f"The canaries are longer than {longest:,} tokens.", "Raise max_tokens, or set canaries to 0.")
    return Material(transcripts, counts, kept, kept_held_out, too_long, snapshot, canaries)
