"""What each arm takes: time and tokens of its replies, training, bytes, transcripts, and money by a price file.

Timings are of this run, where many replies share the machine; they are never part of what must repeat. Of the machine's time
a reply is counted its part: its time in the batch over that of all replies, of the `seconds` that all took together.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum
from statistics import fmean, median

from bot.adapters.catalog import AdapterCatalog
from bot.adapters.verify import WEIGHTS
from bot.evaluation.arms import Arm
from bot.evaluation.prices import Prices
from bot.evaluation.replies import Reply
from bot.evaluation.results import Cost
from bot.prompts.library import PromptLibrary


def costs(
    replies: Sequence[Reply],
    arms: Sequence[Arm],
    adapters: AdapterCatalog,
    prompts: PromptLibrary,
    prices: Prices,
    seconds: float,
) -> list[Cost]:
    """In the arms' order, without those that said nothing. `seconds` is the wall time in which all the replies were made."""
    total = fsum(reply.total_ms for reply in replies)
    own = {arm.name: [reply for reply in replies if reply.arm == arm.name] for arm in arms}
    return [
        _of_arm(arm, own[arm.name], adapters, prompts, prices, seconds / total if total else 0.0)
        for arm in arms
        if own[arm.name]
    ]


def _of_arm(
    arm: Arm, replies: Sequence[Reply], adapters: AdapterCatalog, prompts: PromptLibrary, prices: Prices, share: float
) -> Cost:
    """`share` is machine seconds for each millisecond in the batch."""
    trained = [adapter for adapter, _ in adapters.mix(arm.spec.adapters).parts]
    metrics = [adapters.card(adapter.ref).metrics for adapter in trained]
    training = fsum(each.get("seconds", 0.0) for each in metrics)
    transcripts = int(sum(each.get("training_conversations", 0.0) for each in metrics))
    versions = prompts.get(arm.spec.prompt).version if arm.spec.prompt else 0
    minutes = transcripts * prices.minutes_per_transcript + versions * prices.minutes_per_prompt_version
    machine = share * fmean(reply.total_ms for reply in replies)
    tokens = prices.per_million_tokens
    prompt_tokens, reply_tokens = (
        fmean(getattr(reply, name) for reply in replies) for name in ("prompt_tokens", "completion_tokens")
    )
    a_reply = machine / 3600 * prices.machine_hour + (prompt_tokens * tokens.prompt + reply_tokens * tokens.reply) / 1e6
    return Cost(
        arm=arm.name,
        first_token_ms=median(reply.first_token_ms for reply in replies),
        tokens_per_second=median(_speed(reply) for reply in replies),
        prompt_tokens=median(reply.prompt_tokens for reply in replies),
        reply_tokens=median(reply.completion_tokens for reply in replies),
        training_seconds=training,
        adapter_bytes=sum((adapter.path / WEIGHTS).stat().st_size for adapter in trained),
        transcripts=transcripts,
        currency=prices.currency,
        money_once=minutes / 60 * prices.working_hour + training / 3600 * prices.machine_hour,
        money_per_thousand=1000 * a_reply,
    )


def _speed(reply: Reply) -> float:
    """Tokens a second behind the first one; 0 where there is none."""
    passed = reply.total_ms - reply.first_token_ms
    return (reply.completion_tokens - 1) / passed * 1e3 if reply.completion_tokens > 1 and passed > 0 else 0.0
