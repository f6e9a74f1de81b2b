"""Arms × items × seeds → replies, and what each item's reference costs: the same numbers every time.

Each arm is asked by itself, its items in an order of their own, so that its numbers depend on no other arm and not on who
asked first. What it is sent is what the agent would send; nothing is written into the journal. An arm that cannot answer
becomes a `Failure`, and the others go on. Any items will do; those without a reference have no cost.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from bot.agent import examples_for, hides_reasoning, messages_for, resolve, sampling_for
from bot.errors import BotError, DataError, InvalidMessage, NotAvailable
from bot.evaluation.arms import KNOWLEDGE, Arm
from bot.evaluation.items import Item
from bot.evaluation.replies import Failure, ReferenceCost, Reply
from bot.evaluation.rooms import Rooms, check_exact
from bot.limits import check_messages
from bot.prompts.reasoning import ReasoningFilter, reasoned
from bot.prompts.render import size_of
from bot.prompts.version import PromptVersion
from bot.runs.progress import Progress, Step
from bot.types import Ask, Message, Mix, Outcome, Piece, Said, Score, Scored, Turn, content_hash

log = logging.getLogger("bot")
STAGE = "asking"


@dataclass(frozen=True, slots=True)
class Asked:
    """By arm in the order given, within it by item, within that by seed. What is missing of an arm's items could not be
    read by the base under it, which `notes` tell; an arm in `failures` has nothing else."""

    replies: tuple[Reply, ...]
    costs: tuple[ReferenceCost, ...]
    failures: tuple[Failure, ...]
    notes: tuple[str, ...] = ()


async def ask(arms: Sequence[Arm], items: Sequence[Item], seeds: Sequence[int], rooms: Rooms, progress: Progress) -> Asked:
    """Raises SettingsError where the engine would run in another precision than float32, and what the engine raises when it
    does not load. Cancelled, it stops within a step of the model."""
    check_exact(rooms.settings)
    await rooms.engine.load()
    replies: list[Reply] = []
    costs: list[ReferenceCost] = []
    failures: list[Failure] = []
    notes: list[str] = []
    for number, arm in enumerate(arms):
        asking = _Asking(arm, items, seeds, rooms, _Counter(progress, len(arms), number, len(items) * (len(seeds) + 1)))
        try:
            await asking.run()
        except Exception as error:
            if not isinstance(error, BotError):
                log.exception("an arm failed")
            failures.append(Failure(arm.name, str(error) or type(error).__name__))
            progress.note(f"{arm.name} cannot answer: {failures[-1].reason}")
        else:
            replies += asking.replies()
            costs += asking.costs()
            notes += asking.notes()
        asking.counter.whole()
    for note in notes:
        progress.note(note)
    return Asked(tuple(replies), tuple(costs), tuple(failures), tuple(notes))


def check_parts(arm: Arm) -> None:
    """Raises DataError for an arm that has not what its way needs."""
    spec, missing = arm.spec, []
    if arm.way in ("adapter", "prompt+adapter", "soft-prompt") and not spec.adapters:
        missing.append("soft prompt" if arm.way == "soft-prompt" else "adapter")
    if arm.way not in ("base", "adapter") and not spec.prompt:
        missing.append("prompt")
    if arm.name.endswith(KNOWLEDGE) and not spec.knowledge:
        missing.append("knowledge")
    if missing:
        raise DataError(f"There is no {' and no '.join(missing)} for it.", "Make one, or leave this arm out.")


@dataclass
class _Counter:
    """How far all arms are; `each` requests make one arm."""

    progress: Progress
    arms: int
    arm: int
    each: int
    done: int = 0

    def add(self, count: int) -> None:
        self.done += count
        self.progress.step(Step(STAGE, self.arm * self.each + self.done, self.arms * self.each))

    def whole(self) -> None:
        if self.done < self.each:
            self.add(self.each - self.done)


def own_seed(item: Item, seed: int) -> int:
    """An item's own, the same for all arms. Under one for all, every reply would be made with the same draws: chance would
    do to all conversations what it does to one, where intervals take each one's chances to be its own. A question put
    otherwise keeps its turn's, so that nothing but the words differs."""
    return int(content_hash(item.origin or item.id, str(seed))[:15], 16)


@dataclass
class _Asking:
    """One arm's items."""

    arm: Arm
    items: Sequence[Item]
    seeds: Sequence[int]
    rooms: Rooms
    counter: _Counter
    hides: bool = False
    """Whether there is reasoning that the customer does not see."""
    opened: bool = False
    """Whether replies begin inside it."""
    drawn: Sequence[int] = ()
    """The seeds that replies are asked for with."""
    said: dict[tuple[str, int], Said] = field(default_factory=dict)
    """By item and its own seed."""
    scored: dict[str, Scored] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)
    """Item → why it was not answered."""
    unscored: dict[str, str] = field(default_factory=dict)
    """Item → why its reference was not scored."""

    async def run(self) -> None:
        check_parts(self.arm)
        mix, prompt = await asyncio.to_thread(resolve, self.arm.spec, self.rooms.adapters, self.rooms.prompts)
        self.opened = await self.rooms.engine.opens_reasoning()
        self.hides = hides_reasoning(prompt, self.opened)
        sampling = sampling_for(prompt, Turn((), sampling=dict(self.arm.decoding)))
        # Where the likeliest token is taken chance decides nothing: one seed speaks for all.
        self.drawn = self.seeds if sampling.temperature else self.seeds[:1]
        sent = await self._sent(mix, prompt, sampling.max_tokens)
        requests: list[tuple[Item, Ask | Score]] = []
        for item, messages in sent:
            requests += [(item, Ask(messages, mix, sampling, own_seed(item, seed))) for seed in self.drawn]
            if item.reference and not self.hides:
                # Right behind its reply: their prompt is read once.
                requests.append((item, Score(messages, mix, item.reference)))
        await self._work_off(requests)
        if self.hides:
            # The reference stands where the arm's own reply would: behind its reasoning.
            behind: list[tuple[Item, Ask | Score]] = []
            for item, messages in sent:
                said = self.said.get((item.id, own_seed(item, self.seeds[0])))
                if item.reference and said:
                    behind.append((item, Score(messages, mix, item.reference, reasoned(said.text, self.opened))))
            await self._work_off(behind)

    async def _sent(self, mix: Mix, prompt: PromptVersion | None, reply: int) -> list[tuple[Item, tuple[Message, ...]]]:
        """The items that can be sent, with their messages: those alike in length together, which share steps best."""
        found = []
        for item in self.items:
            turn = Turn(item.history, self.arm.spec)
            passages = item.passages if self.arm.with_knowledge else None
            try:
                check_messages(item.history)
                examples = await examples_for(turn, prompt, self.rooms.selector, self.rooms.engine)
                messages = await asyncio.to_thread(
                    messages_for, turn, prompt, examples, passages, mix, reply, self.rooms.engine
                )
                found.append((item, messages))
            except InvalidMessage as error:
                self.unread[item.id] = self.unscored[item.id] = str(error)
        return sorted(found, key=lambda one: (size_of(one[1]), one[0].id))

    async def _work_off(self, requests: Sequence[tuple[Item, Ask | Score]]) -> None:
        async with aclosing(self.rooms.engine.work_off([request for _, request in requests])) as outcomes:
            async for number, outcome in outcomes:
                item, request = requests[number]
                self._take(item.id, request, outcome)
                self.counter.add(len(self.seeds) // len(self.drawn) if isinstance(request, Ask) else 1)

    def _take(self, item: str, request: Ask | Score, outcome: Outcome) -> None:
        """Raises what is the whole arm's fault."""
        if isinstance(outcome, Said) and isinstance(request, Ask):
            self.said[item, request.seed] = outcome
        elif isinstance(outcome, Scored):
            self.scored[item] = outcome
        elif isinstance(outcome, InvalidMessage) and isinstance(request, Ask):
            self.unread[item] = str(outcome)
        elif isinstance(outcome, InvalidMessage | NotAvailable) and isinstance(request, Score):
            self.unscored[item] = str(outcome)
        elif isinstance(outcome, Exception):
            raise outcome

    def replies(self) -> list[Reply]:
        told = []
        for item in self.items:
            for place, seed in enumerate(self.seeds):
                said = self.said.get((item.id, own_seed(item, self.drawn[min(place, len(self.drawn) - 1)])))
                if said:
                    told.append(self._reply(item.id, seed, said))
        return told

    def _reply(self, item: str, seed: int, said: Said) -> Reply:
        text, reasoning = said.text, ""
        if self.hides:
            screen = ReasoningFilter(self.opened)
            shown = screen.shown(Piece(said.text, said.finish_reason))
            text, reasoning = shown.text if shown else "", screen.reasoning.strip()
        return Reply(
            self.arm.name, item, seed, text, reasoning, said.finish_reason,
            said.usage.prompt_tokens, said.usage.completion_tokens, said.first_token_ms, said.total_ms,
        )  # fmt: skip

    def costs(self) -> list[ReferenceCost]:
        return [
            ReferenceCost(self.arm.name, item.id, -math.fsum(scored.logprobs), len(scored.logprobs))
            for item in self.items
            if (scored := self.scored.get(item.id))
        ]

    def notes(self) -> list[str]:
        told = []
        for what, reasons in (("answered", self.unread), ("scored", self.unscored)):
            if reasons:
                first = next(item.id for item in self.items if item.id in reasons)
                told.append(
                    f"{self.arm.name}: {len(reasons)} of {len(self.items)} turns are not {what}, {first} for one: "
                    f"{reasons[first]}"
                )
        return told
