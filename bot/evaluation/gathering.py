"""What an evaluation rests on: the parts of its arms, the held-out turns with their passages, hashes of all of it.

The turns are those of the conversations that training held out, or of a set of one's own; what was seen before stops the
run. Nothing is asked here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot.errors import DataError
from bot.evaluation.arms import Arm, Parts, all_arms, chosen
from bot.evaluation.domain import common_decoding, domain_of, find_parts
from bot.evaluation.items import Item
from bot.evaluation.options import Options
from bot.evaluation.rooms import Rooms
from bot.evaluation.seen import division, refuse_seen
from bot.evaluation.statistics import FEWEST
from bot.files import read_text, sha256_file
from bot.knowledge.store import MemoryStore
from bot.runs.progress import Progress, Step
from bot.training.recipe import read_recipe
from bot.training.split import split
from bot.training.transcripts import Conversation, Transcripts, read_transcripts
from bot.types import content_hash


@dataclass(frozen=True)
class Gathered:
    """`domain` is the adapter's name, `training` the conversations that a part may learn from or show, `notes` what the
    reader must know first."""

    domain: str
    parts: Parts
    arms: tuple[Arm, ...]
    items: tuple[Item, ...]
    training: tuple[Conversation, ...]
    inputs: dict[str, str]
    notes: tuple[str, ...]


async def gather(options: Options, rooms: Rooms, progress: Progress) -> Gathered:
    """Raises NotFound for a scenario or part that is not there, DataError for transcripts that cannot be used and for
    held-out conversations that were seen before, all of them listed."""
    domain = domain_of(options.scenario, rooms)
    parts, notes = find_parts(domain, options, rooms)
    arms = chosen(all_arms(parts, common_decoding(parts, rooms.prompts)), options.arms)
    transcripts, training, held_out = _divided(domain.name, parts, options, rooms)
    refs = _trained(arms)
    trained = []
    for ref in refs:
        found = division(ref, rooms.adapters.card(ref), rooms)
        if found is None:
            notes.append(f"What {ref} was trained on is not known here: it may have seen the held-out conversations.")
            continue
        notes += found.notes
        trained.append((ref, found.training))
    prompts = [rooms.prompts.get(ref) for ref in sorted({arm.spec.prompt for arm in arms} - {""})]
    refuse_seen(held_out, trained, prompts)
    notes += transcripts.remarks() if options.data else ()
    items = await items_of(_limited(held_out, options.limit), parts.knowledge if _asks(arms) else "", rooms, progress)
    conversations = len({item.conversation for item in items})
    if conversations < FEWEST:
        notes.append(
            f"Only {conversations} conversations are held out; {FEWEST} or more are needed for an interval. "
            "Add transcripts, or give a set of your own with --data."
        )
    for note in notes:
        progress.note(note)
    inputs = _inputs(options, rooms, parts, arms, items, transcripts, await rooms.engine.load())
    return Gathered(domain.name, parts, tuple(arms), items, tuple(training), inputs, tuple(notes))


def _divided(
    name: str, parts: Parts, options: Options, rooms: Rooms
) -> tuple[Transcripts, Sequence[Conversation], Sequence[Conversation]]:
    """What was read, what may be learned from, and what is held out: as the adapter's training divided it, else as its
    recipe would."""
    folder = rooms.settings.workspace / "adapters" / name
    known = division(parts.adapter, rooms.adapters.card(parts.adapter), rooms) if parts.adapter else None
    if known:
        transcripts, training, held_out = known.transcripts, known.training, known.held_out
    elif (folder / "recipe.yaml").exists():
        recipe = read_recipe(folder / "recipe.yaml")
        transcripts = read_transcripts(folder / recipe.data, recipe.scrub, recipe.nearly_the_same)
        training, held_out = (tuple(part) for part in split(transcripts.conversations, recipe.held_out))
    elif not options.data:
        raise DataError(f"The domain {name!r} has no adapter and no recipe.", "Make adapters/<name>/recipe.yaml.")
    else:
        training = ()
    if options.data:
        own = Path(options.data)
        scrub = bool(rooms.adapters.card(parts.adapter).recipe.get("scrub", True)) if parts.adapter else True
        transcripts = read_transcripts(own, scrub, 1.0)
        held_out = transcripts.conversations
    return transcripts, training, held_out


def _trained(arms: Sequence[Arm]) -> list[str]:
    return sorted({arm.spec.adapters for arm in arms} - {""})


def _asks(arms: Sequence[Arm]) -> bool:
    """Whether an arm is shown passages."""
    return any(arm.with_knowledge for arm in arms)


def _limited(conversations: Sequence[Conversation], most: int) -> list[Conversation]:
    """Whole conversations with at most `most` turns, chosen by a hash of their ids; at least one. All where it is 0."""
    if not most:
        return list(conversations)
    taken: set[str] = set()
    turns = 0
    for conversation in sorted(conversations, key=lambda one: content_hash("limit", one.id)):
        count = len(_turns(conversation))
        if not taken or turns + count <= most:
            taken.add(conversation.id)
            turns += count
    return [conversation for conversation in conversations if conversation.id in taken]


def _turns(conversation: Conversation) -> list[int]:
    return [number for number, message in enumerate(conversation.messages) if message.role == "assistant"]


async def items_of(
    conversations: Sequence[Conversation], collection: str, rooms: Rooms, progress: Progress
) -> tuple[Item, ...]:
    """Passages come from an index in memory, so a running server keeps its own."""
    items: list[Item] = []
    total = sum(len(_turns(conversation)) for conversation in conversations)
    knowledge = rooms.knowledge_on(MemoryStore())
    try:
        for conversation in conversations:
            labels = {label.turn: dict(label.values) for label in conversation.labels}
            for number in _turns(conversation):
                history = conversation.messages[:number]
                asked = [message.content for message in history if message.role == "user"]
                found = await knowledge.search_turn(asked, collection, rooms.settings.passages) if collection else ()
                items.append(
                    Item(
                        f"{conversation.id}/{number}", conversation.id, history, conversation.messages[number].content,
                        found, labels.get(number - 1, {}),
                    )
                )  # fmt: skip
                progress.step(Step("reading", len(items), total))
    finally:
        knowledge.close()
    return tuple(items)


def _inputs(
    options: Options,
    rooms: Rooms,
    parts: Parts,
    arms: Sequence[Arm],
    items: Sequence[Item],
    transcripts: Transcripts,
    engine: str,
) -> dict[str, str]:
    """Everything that the figures depend on, by name, as hashes; `engine` is what runs, in words."""
    settings, root = rooms.settings, rooms.settings.workspace
    prompts = sorted({arm.spec.prompt for arm in arms} - {""})
    cases = {ref: root / "prompts" / ref.partition("@")[0] / "cases.yaml" for ref in prompts}
    texts = sorted(path for path in Path(__file__).parent.rglob("*") if path.suffix in (".yaml", ".jsonl"))
    found = {
        "base": rooms.base.hash,
        **{ref: rooms.adapters.get(ref).hash for ref in _trained(arms)},
        **{ref: rooms.prompts.get(ref).prompt.hash for ref in prompts},
        **{f"cases of {ref.partition('@')[0]}": sha256_file(path) for ref, path in cases.items() if path.is_file()},
        **transcripts.files,
        "arms": content_hash(*(f"{arm.name} {arm.spec} {sorted(arm.decoding.items())}" for arm in arms)),
        "held-out turns": content_hash(*(part for item in items for part in (item.id, item.reference))),
        "seeds": str(options.seeds),
        "engine": engine,
        "texts of the evaluation": content_hash(*(sha256_file(path) for path in texts)),
    }
    if parts.knowledge and _asks(arms):
        knowledge = rooms.knowledge_on(MemoryStore())
        try:
            found[f"knowledge {parts.knowledge}"] = knowledge.snapshot(parts.knowledge)
        finally:
            knowledge.close()
        found["embedding"] = rooms.embedder.id
        found["passages"] = f"{settings.passages} from {settings.threshold:g}"
    if options.prices:
        found["prices"] = content_hash(read_text(Path(options.prices)))
    return found
