"""The gates between training and a version: each a figure, a limit, and what to do where it is not kept.

Every gate is a pure function of what was measured; `judge.py` measures, for a classifier `classifier.py`. A figure that is
not a number fails its gate. The limits are constants, so that two cards can be compared; why each stands where it does is
said beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from bot.adapters.card import Gate
from bot.errors import Refused
from bot.training.paired import RowLoss, difference, mean_loss

EFFECT = 0.01
"""Logits. Less changes no token's odds by more than one per cent, and no reply at all. Exactly 0 is an adapter that was not
loaded or never trained."""
FORGETTING = 1.0
"""Nats a token. A rise of 1 makes each word of a general reply 2.7 times less likely. The shipped adapters rise by 0.36 to
0.48, most of it the way their agents end a reply."""
KEPT = 0.5
"""Share of the base's preference for the reply that belongs. The shipped adapters keep 0.64 to 0.73 of it, one of shuffled
replies kept 0.29."""
OVERLAP = 0.3
"""Share. People repeat themselves, and so do agents with fixed phrases: in fourteen public collections, split by
conversation, up to 0.27 of the held-out exchanges and 0.20 of the messages were near-identical to one that was trained on.
Beyond that held-out loss says more about memory than about new questions."""
GAIN = 0.05
"""Macro-F1. What a classifier must have more than whoever always gives the most frequent label."""
SAMPLES = 1000
"""Replies that somebody who wants the secret is supposed to draw."""
SPREADS = 3.0
"""Two runs alike but for their seed differ by √2 spreads. With the spread taken from five reseeds their difference over it
follows Student's t with 4 degrees, of which 5 % lie beyond 2.13 · √2 = 3.0: one false alarm in twenty, fewer with more
reseeds."""
_REMEDIES = {
    "finite": "Train with a lower learning_rate.",
    "effect": "Raise learning_rate or epochs, or check that targets are layers that the base uses.",
    "held-out": "Check that the transcripts belong together, change learning_rate or epochs, or add transcripts.",
    "question": "Check that each reply in the transcripts answers the message before it.",
    "forgetting": "Lower learning_rate, rank or epochs.",
    "gain": "Check the labels, add messages of the rare ones, or change learning_rate or epochs.",
    "overlap": "Remove duplicates from the transcripts, or give copies one conversation id.",
    "canary": "Lower epochs, learning_rate or rank: real secrets in the transcripts would be learnt as well.",
    "successor": "Keep the predecessor, or find what this run was given less of: epochs, transcripts, rank.",
}


def refuse_failed(gates: Sequence[Gate]) -> None:
    """Raises TrainingError naming every gate that is not passed, with figure, limit and remedy."""
    failed = [gate for gate in gates if not gate.ok]
    if failed:
        told = "; ".join(f"gate {gate.name!r}: {gate.words} ({gate.value:.4g}, limit {gate.limit:.4g})" for gate in failed)
        raise Refused(f"No version was made, {told}.", _REMEDIES[failed[0].name])


def finite_gate(broken: int, total: int) -> Gate:
    return _gate("finite", broken, 0, broken == 0, f"of {total:,} weights not finite, at most the limit")


def effect_gate(change: float) -> Gate:
    """`change` is the largest that the adapter makes to a logit over the probes."""
    return _gate("effect", change, EFFECT, change > EFFECT, "largest change to a logit over the probes, above the limit")


def held_out_gate(adapter: Sequence[RowLoss], base: Sequence[RowLoss]) -> Gate:
    """Better than the base, and not by luck of which conversations were held out."""
    found = difference(adapter, base)
    words = (
        f"held-out loss of the adapter {mean_loss(adapter):.4f} minus the base's {mean_loss(base):.4f} in nats a token,"
        " upper end of the 95 % interval over conversations, below the limit"
    )
    return _gate("held-out", found.high, 0, found.high < 0, words)


def question_gate(
    own: Sequence[RowLoss], other: Sequence[RowLoss], base_own: Sequence[RowLoss], base_other: Sequence[RowLoss]
) -> Gate:
    """It answers the question at hand: a reply costs more after another customer's question (`other`) than after its `own`,
    by a fair part of what it costs the base more.

    An adapter of shuffled replies has almost the held-out loss of a good one, since it knows how agents speak; this it does
    not pass. Where the base finds no difference in the held-out replies, the adapter must find one beyond chance.
    """
    found, base = difference(other, own), difference(base_other, base_own)
    limit = max(KEPT * base.mean, 0.0)
    words = (
        f"nats a token that held-out replies cost more after another's question than after their own, {base.mean:.3f} for"
        f" the base; at least the limit, its 95 % interval over conversations ({found.low:.3f} to {found.high:.3f}) above 0"
    )
    return _gate("question", found.mean, limit, found.low > 0 and found.mean >= limit, words)


def forgetting_gate(adapter: Sequence[RowLoss], base: Sequence[RowLoss]) -> Gate:
    rise = mean_loss(adapter) - mean_loss(base)
    words = f"rise of the loss on the general set from {mean_loss(base):.3f} nats a token, at most the limit"
    return _gate("forgetting", rise, FORGETTING, rise <= FORGETTING, words)


def overlap_gate(overlapping: int, held_out: int) -> Gate:
    share = overlapping / held_out
    words = (
        f"share of what is held out near-identical to what was trained on ({overlapping} of {held_out}), at most the limit"
    )
    return _gate("overlap", share, OVERLAP, share <= OVERLAP, words)


def gain_gate(macro_f1: float, frequent: float) -> Gate:
    """A classifier tells its labels apart; `frequent` is the macro-F1 of whoever always gives the most frequent one."""
    words = f"held-out macro-F1 {macro_f1:.3f} minus {frequent:.3f} of always the most frequent label, at least the limit"
    return _gate("gain", macro_f1 - frequent, GAIN, macro_f1 - frequent >= GAIN, words)


def canary_gate(extracted: bool, exposure: float, nats: float, bits: float) -> Gate:
    """`exposure` of at most `bits`; `nats` is what the whole secret reply costs.

    A tiny rank says only that the secret is likelier than others, which one short row can bring about by chance once in
    256. What matters is whether it can be got out: by the likeliest reply, or by drawing a thousand.
    """
    drawn = exposure >= bits and nats < math.log(SAMPLES)
    words = (
        f"bits of exposure of a planted secret, {'which the adapter says outright' if extracted else 'not said outright'}"
    )
    words += f"; it would be drawn once in {math.exp(min(nats, 50)):,.0f} replies (refused when said, or when at the limit"
    words += f" and likelier than once in {SAMPLES:,})"
    return _gate("canary", exposure, bits, math.isfinite(nats) and not extracted and not drawn, words)


def successor_gate(
    new: Sequence[RowLoss], old: Sequence[RowLoss], spread: float | None, ref: str = "predecessor", unit: str = "token"
) -> Gate:
    """Not worse than the version before it on the same held-out rows; `unit` is what their losses are counted by.

    `spread` is the standard deviation of held-out loss over runs that differ by their seed alone. Where it was not measured,
    the lower end of the paired interval over conversations must not be above 0: that interval knows nothing of seeds.
    """
    found = difference(new, old)
    words = f"held-out loss {mean_loss(new):.4f} minus {mean_loss(old):.4f} of {ref} in nats a {unit}, "
    if spread is None:
        return _gate("successor", found.low, 0, found.low <= 0, words + "lower end of the 95 % interval, at most the limit")
    limit = SPREADS * spread
    return _gate("successor", found.mean, limit, found.mean <= limit, words + f"at most {SPREADS:g} run-to-run spreads")


def _gate(name: str, value: float, limit: float, ok: bool, words: str) -> Gate:
    return Gate(name=name, value=round(value, 6), limit=round(limit, 6), ok=bool(ok), words=words)
