"""A prompt's cases on an agent: what each reply was, and what it lacks. Cases run side by side, as chats of a desk do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from bot.agent import Agent
from bot.errors import BotError, PromptError
from bot.prompts.assertions import failures
from bot.prompts.cases import Case, Cases
from bot.prompts.render import fill_variables
from bot.prompts.version import PromptVersion
from bot.types import AgentSpec, Embedder, Turn

TOGETHER = 8
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`failures` are sentences; none where the case passed."""

    case: str
    message: str
    reply: str
    failures: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.failures


async def run_cases(
    agent: Agent,
    prompt: PromptVersion,
    cases: Cases,
    adapters: str,
    knowledge: str,
    embedder: Embedder,
    progress: Progress | None = None,
) -> list[Outcome]:
    """One outcome a case, in their order. A variable that this version does not have fails its case; an agent that cannot
    answer one raises its own error, and the other cases end with it."""
    turns = asyncio.Semaphore(TOGETHER)
    done = 0

    async def run(case: Case) -> Outcome:
        nonlocal done
        async with turns:
            outcome = await _run(agent, prompt, case, cases, adapters, knowledge, embedder)
        done += 1
        if progress:
            progress(done, len(cases.cases))
        return outcome

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(run(case)) for case in cases.cases]
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def unanswered(cases: Cases, error: BotError) -> list[Outcome]:
    """What is known of cases that no agent answered: each fails, for that reason."""
    return [Outcome(case.title, case.message, "", (str(error),)) for case in cases.cases]


async def _run(
    agent: Agent, prompt: PromptVersion, case: Case, cases: Cases, adapters: str, knowledge: str, embedder: Embedder
) -> Outcome:
    try:
        values = fill_variables(prompt.prompt, case.variables)
    except PromptError as error:
        return Outcome(case.title, case.message, "", (str(error),))
    spec = AgentSpec(adapters, prompt.ref, knowledge if case.knowledge is None else case.knowledge)
    answer = await agent.ainvoke(Turn(case.messages, spec, dict(case.variables)))
    faults = await failures([*cases.every_reply, *case.expect], answer.reply, values, answer.passages, embedder)
    return Outcome(case.title, case.message, answer.reply, tuple(faults))
