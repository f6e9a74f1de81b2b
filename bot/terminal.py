"""`bot chat` at a terminal or in a pipe, and the progress bar of long commands."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from contextlib import aclosing

from bot.agent import Answer
from bot.desk import Desk
from bot.errors import BotError, InvalidMessage
from bot.limits import MAX_MESSAGES
from bot.types import AgentSpec, Message, Turn

LEAVE = ("exit", "quit")


class Chat:
    """One conversation. Replies go to `put`, everything else to `say`."""

    def __init__(
        self,
        desk: Desk,
        spec: AgentSpec,
        sampling: dict[str, object],
        seed: int,
        put: Callable[..., None],
        say: Callable[[str], None],
    ) -> None:
        self._desk, self._spec, self._sampling, self._seed = desk, spec, sampling, seed
        self._put, self._say = put, say
        self._messages: tuple[Message, ...] = ()
        self._conversation = ""

    def run(self) -> None:
        """Until the person leaves; in a pipe, for the one message that comes in."""
        with asyncio.Runner() as runner:
            try:
                if sys.stdin.isatty():
                    runner.run(self._prepare())
                    self._converse(runner)
                else:
                    question = piped()
                    runner.run(self._prepare())
                    runner.run(self._ask(question))
            finally:
                runner.run(self._desk.close())

    async def _prepare(self) -> None:
        """Index what changed, with its progress, before the first question has to wait for it."""
        if self._spec.knowledge:
            with progress_bar(f"indexing {self._spec.knowledge}") as advance:
                await self._desk.knowledge.index(self._spec.knowledge, advance)

    def _converse(self, runner: asyncio.Runner) -> None:
        spec = self._spec
        self._say(f"{spec.adapters or 'base'} · {spec.prompt or 'no prompt'} · {spec.knowledge or 'no knowledge'}")
        self._say(runner.run(self._desk.engine.load()))
        self._say("Type a question; exit or Ctrl-D leaves, Ctrl-C stops a reply.")
        while (question := self._read()) is not None:
            with contextlib.suppress(KeyboardInterrupt):
                try:
                    runner.run(self._ask(question))
                except BotError as error:
                    self._say(str(error))

    def _read(self) -> str | None:
        try:
            question = input("\n> ")
        except (EOFError, KeyboardInterrupt):
            return None
        except UnicodeDecodeError:
            self._say("That was not UTF-8. Type it again.")
            return self._read()
        return None if question.strip().lower() in LEAVE else question

    async def _ask(self, question: str) -> None:
        if not self._conversation:
            self._conversation = self._desk.journal.start("terminal")
        messages = (*self._messages[-(MAX_MESSAGES - 2) :], Message("user", question))
        turn = Turn(messages, self._spec, sampling=self._sampling, seed=self._seed, conversation=self._conversation)
        answer = Answer()
        try:
            async with aclosing(self._desk.agent.answer(turn, answer)) as pieces:
                async for piece in pieces:
                    self._put(piece.text, end="")
        finally:
            if answer.reply:
                self._put()
                self._messages = (*messages, Message("assistant", answer.reply))
        if not answer.reply.strip():
            self._say("  the reply was empty")
        if answer.reasoning:
            self._say(f"  reasoning, not part of the reply: {answer.reasoning}")
        if self._spec.knowledge and not answer.passages:
            self._say("  no article matches")
        for passage in answer.passages:
            self._say(f"  {passage.score:.2f}  {passage.title}  ({passage.id})")


def piped() -> str:
    """All that comes in by a pipe. Raises InvalidMessage where it is not UTF-8."""
    try:
        return sys.stdin.buffer.read().decode("utf-8").strip()
    except UnicodeDecodeError as error:
        raise InvalidMessage(f"The input is not UTF-8: {error.reason} at byte {error.start}.", "Send it as UTF-8.") from None


@contextlib.contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr; call what it gives with (done, all)."""
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
