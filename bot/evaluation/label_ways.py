"""What the tasks of labels share: a domain's labelled messages as training divided them, and the ways to label them.

Each way is made when its turn comes and may fail by itself. Knows nothing of what is measured.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bot.errors import DataError, NotFound
from bot.evaluation.labellers import Head, Labeller, Prompted, VectorModel, WordModel, make_pool
from bot.evaluation.rooms import Rooms
from bot.training.labelled import Parts, parts_of, read_labelled
from bot.training.recipe import read_recipe
from bot.training.scores import vector_model, word_model
from bot.types import Adapter

PROMPT = "label"
"""The prompt that the base labels under: its version in production."""


@dataclass(frozen=True)
class Known:
    """A domain's messages that have a label of `task`, in the parts of a classifier's training: `held_out` is the recipe's
    share. `train` is the command that makes the classifier."""

    domain: str
    task: str
    parts: Parts
    held_out: float
    train: str


def known_messages(domain: str, rooms: Rooms, task: str) -> Known:
    """Raises DataError where the domain has no recipe, or no messages with enough labels of that task."""
    path = rooms.settings.workspace / "adapters" / domain / "recipe.yaml"
    recipe = read_recipe(path, ["method=classifier", f"task={task}"])
    read = read_labelled(path.parent / recipe.data, task, recipe.scrub)
    command = f"bot train adapters/{domain}/recipe.yaml --method classifier --set task={task}"
    return Known(domain, task, parts_of(read.rows, recipe.held_out), recipe.held_out, command)


Way = tuple[str, Callable[[], Awaitable[Labeller]]]
"""A name, and what makes the labeller; it raises BotError where it cannot."""


def ways(known: Known, rooms: Rooms) -> list[Way]:
    """The fine-tuned head, the prompts, and the baselines."""
    training, labels = known.parts.training, known.parts.labels
    wanted = [message.label for message in training]

    async def head() -> Labeller:
        return Head(rooms.engine, _classifier(known, rooms), labels)

    async def zero_shot() -> Labeller:
        return Prompted(rooms.engine, rooms.prompts.get(PROMPT).prompt, known.task, labels, training)

    async def few_shot() -> Labeller:
        pool = await make_pool(training, rooms.embedder)
        return Prompted(rooms.engine, rooms.prompts.get(PROMPT).prompt, known.task, labels, training, pool)

    async def vectors() -> Labeller:
        learned = await rooms.embedder.embed([message.text for message in training])
        return VectorModel(vector_model().fit(learned, wanted), rooms.embedder, labels)

    async def by_words() -> Labeller:
        return WordModel(word_model().fit([message.text for message in training], wanted), labels)

    return [
        ("fine-tuned head", head),
        ("zero-shot prompt", zero_shot),
        ("few-shot prompt", few_shot),
        ("frozen encoder and logistic regression", vectors),
        ("TF-IDF and logistic regression", by_words),
    ]


def _classifier(known: Known, rooms: Rooms) -> Adapter:
    """The newest classifier of the domain's task. Raises DataError where there is none that saw only the training part."""
    name = f"{known.domain}-{known.task}"
    if name not in rooms.adapters.names():
        raise NotFound("classifier", name, rooms.adapters.names(), f"This makes it: {known.train}")
    adapter, card = rooms.adapters.get(name), rooms.adapters.card(name)
    if adapter.method != "classifier" or card.recipe.get("task") != known.task:
        raise DataError(f"{adapter.ref} is no classifier of {known.task}.", f"This makes one: {known.train}")
    if card.recipe["held_out"] != known.held_out:
        raise DataError(
            f"{adapter.ref} held out {card.recipe['held_out']:g} of the conversations, the recipe now says"
            f" {known.held_out:g}: it may have learned from the messages that judge it.",
            f"This trains it again: {known.train}",
        )
    return adapter
