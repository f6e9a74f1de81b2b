"""Cases on the agent that customers meet, as a stream: how far they are, then what came of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence

from bot.desk import Desk
from bot.prompts.cases import Cases
from bot.prompts.version import PromptVersion
from bot.publishing.trial import Outcome, run_cases

Results = list[list[Outcome]]
"""By version, in the order they were given."""


async def try_versions(
    desk: Desk, versions: Sequence[PromptVersion], cases: Cases
) -> AsyncGenerator[tuple[int, int] | Results, None]:
    """(cases done, all of them) again and again, at the end the outcomes. Closing this ends what is still running. The
    versions, of which one may be a draft, are tried at the same time."""
    steps: asyncio.Queue[tuple[int, int] | None] = asyncio.Queue()
    done = [0] * len(versions)
    total = len(cases.cases) * len(versions)

    async def run(place: int, version: PromptVersion) -> list[Outcome]:
        def advance(number: int, _: int) -> None:
            done[place] = number
            steps.put_nowait((sum(done), total))

        agent, spec = desk.agent.trying(version), desk.settings.agent
        return await run_cases(agent, version, cases, spec.adapters, spec.knowledge, desk.embedder, advance)

    runs = [asyncio.ensure_future(run(place, version)) for place, version in enumerate(versions)]
    work = asyncio.gather(*runs)
    work.add_done_callback(lambda _: steps.put_nowait(None))
    try:
        yield 0, total
        while (step := await steps.get()) is not None:
            yield step
        yield list(await work)
    finally:
        # One that failed has ended the gathering, which then cancels no other.
        for one in runs:
            one.cancel()
        await asyncio.gather(*runs, return_exceptions=True)
