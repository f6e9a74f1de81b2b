"""What was seen before the evaluation: the conversations that adapters were trained on, the examples that prompts show.
A held-out conversation that is among them would be recited, not answered, and stops the run.

Two conversations are the same where their ids and words are, or where they have `NEARLY_THE_SAME` of their words in common.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.adapters.card import Card
from bot.errors import DataError
from bot.evaluation.rooms import Rooms
from bot.prompts.version import PromptVersion
from bot.training.duplicates import found_in
from bot.training.prepared import SOFT
from bot.training.split import is_held_out, split
from bot.training.transcripts import NEARLY_THE_SAME, Conversation, Transcripts, read_transcripts


@dataclass(frozen=True)
class Division:
    """An adapter's transcripts as its training divided them. `notes` say what of that is not certain."""

    training: tuple[Conversation, ...]
    held_out: tuple[Conversation, ...]
    transcripts: Transcripts
    notes: tuple[str, ...] = ()


def division(ref: str, card: Card, rooms: Rooms) -> Division | None:
    """None where nobody here knows what it was trained on. Raises DataError for transcripts that cannot be read."""
    if card.claimed or not card.recipe:
        return None
    name, data = ref.partition("@")[0], str(card.recipe.get("data", "transcripts"))
    folder = _folder(rooms.settings.workspace / "adapters", name, data)
    # What a card does not state was not done when it was made.
    transcripts = read_transcripts(
        folder, bool(card.recipe.get("scrub", False)), float(card.recipe.get("nearly_the_same", 1.0))
    )
    share = float(card.recipe["held_out"])
    training, held_out = split(transcripts.conversations, share)
    notes = []
    now = {f"{data}/{file}": sha256 for file, sha256 in transcripts.files.items()}
    trained = {file: sha256 for file, sha256 in card.data.items() if not file.startswith("knowledge/")}
    changed = sorted(file for file in {*now, *trained} if now.get(file) != trained.get(file))
    if changed:
        notes.append(
            f"{', '.join(changed)} changed since {ref} was trained, so what it was trained on is not known for certain."
        )
    counts = tuple(card.metrics.get(f"{part}_conversations") for part in ("training", "held_out"))
    if not changed and None not in counts and counts != (len(training), len(held_out)):
        # Others than today's rule holds out were, and only the hash of an id has always been part of the rule.
        held_out = [conversation for conversation in held_out if is_held_out(conversation.id, share)]
        notes.append(
            f"{ref} was trained on {counts[0]:.0f} conversations with {counts[1]:.0f} held out, and today's rule divides "
            f"them otherwise: {len(held_out)} that both hold out take part. Train it anew to use all."
        )
    return Division(tuple(training), tuple(held_out), transcripts, tuple(notes))


def _folder(root: Path, name: str, data: str) -> Path:
    """A soft prompt is trained from the recipe, and the transcripts, of the adapter beside it."""
    own = root / name / data
    return own if own.is_dir() else root / name.removesuffix(SOFT) / data


def refuse_seen(
    held_out: Sequence[Conversation], trained: Sequence[tuple[str, Sequence[Conversation]]], prompts: Sequence[PromptVersion]
) -> None:
    """`trained` are adapters with their training conversations. Raises DataError listing every held-out conversation that
    is among those, or among the prompts' examples."""
    found = list(dict.fromkeys((*_trained_on(held_out, trained), *_shown(held_out, prompts))))
    if found:
        count = len({conversation for conversation, _ in found})
        listed = "; ".join(f"{conversation} ({where})" for conversation, where in found)
        raise DataError(
            f"{count} of {len(held_out)} held-out conversations were seen before: {listed}. What was seen proves nothing.",
            "Take them out of the held-out set, or train and prompt without them.",
        )


def _trained_on(
    held_out: Sequence[Conversation], trained: Sequence[tuple[str, Sequence[Conversation]]]
) -> Iterator[tuple[str, str]]:
    for ref, training in trained:
        for number, other, share in found_in([_text(c) for c in held_out], [_text(c) for c in training], NEARLY_THE_SAME):
            alike = "" if share == 1 else f", {share:.0%} the same"
            yield held_out[number].id, f"{training[other].id} in the training of {ref}{alike}"


def _shown(held_out: Sequence[Conversation], prompts: Sequence[PromptVersion]) -> Iterator[tuple[str, str]]:
    exchanges = [
        (conversation.id, f"{conversation.messages[number - 1].content}\n{message.content}")
        for conversation in held_out
        for number, message in enumerate(conversation.messages)
        if message.role == "assistant"
    ]
    for prompt in prompts:
        examples = [f"{example.customer}\n{example.agent}" for example in prompt.prompt.examples]
        for number, example, _ in found_in([text for _, text in exchanges], examples, NEARLY_THE_SAME):
            yield exchanges[number][0], f"example {example + 1} of {prompt.ref}"


def _text(conversation: Conversation) -> str:
    return "\n".join(message.content for message in conversation.messages)
