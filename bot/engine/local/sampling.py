"""Logits → the next token, and tokens → text that is safe to send. One row at a time; knows nothing of batches."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

import torch

from bot.types import FinishReason, Sampling, TokenScore

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class Picker:
    """Draws one row's tokens. The generator is the row's own, so a seed means the same tokens whoever else is served."""

    def __init__(self, sampling: Sampling, seed: int, end_ids: frozenset[int]) -> None:
        self._sampling = sampling
        self._end_ids = sorted(end_ids)
        self._generator = torch.Generator().manual_seed(seed)
        self.tokens: list[int] = []

    def pick(self, logits: torch.Tensor, best: int) -> int:
        """The next token id from logits of shape (vocabulary,), the highest of which is at `best`."""
        sampling = self._sampling
        excluded = banned(self.tokens, sampling.no_repeat_ngram_size)
        if sampling.ignore_eos or len(self.tokens) < sampling.min_tokens:
            excluded.update(self._end_ids)
        # The whole vocabulary is not looked at again where the batch's look was enough.
        token = best
        if sampling.temperature or best in excluded:
            logits = logits.float().cpu().clone()
            logits[torch.tensor(sorted(excluded), dtype=torch.long)] = -torch.inf
            token = self._draw(logits / sampling.temperature) if sampling.temperature else int(logits.argmax())
        self.tokens.append(token)
        return token

    def _draw(self, logits: torch.Tensor) -> int:
        probabilities = logits.softmax(-1)
        if self._sampling.top_p < 1:
            ordered, order = probabilities.sort(descending=True)
            outside = ordered.cumsum(-1) - ordered > self._sampling.top_p
            probabilities[order[outside]] = 0
        return int(torch.multinomial(probabilities, 1, generator=self._generator))


def banned(tokens: Sequence[int], size: int) -> set[int]:
    """Tokens that would repeat an n-gram of `size` among those generated so far."""
    if size < 1 or len(tokens) < size:
        return set()
    lead = tuple(tokens[len(tokens) - size + 1 :])
    return {tokens[i + size - 1] for i in range(len(tokens) - size + 1) if tuple(tokens[i : i + size - 1]) == lead}


class Scores:
    """The log-probabilities of one row's tokens, kept until a piece takes them along; `top` likeliest beside each."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, top: int) -> None:
        self._tokenizer, self._top = tokenizer.backend_tokenizer, top
        self._kept: list[TokenScore] = []

    def keep(self, token: int, logits: torch.Tensor) -> None:
        """A token that was chosen from logits of shape (vocabulary,)."""
        logs = logits.float().log_softmax(-1)
        values, ids = logs.topk(self._top)
        top = tuple(zip(map(self._text, ids.tolist()), values.tolist(), strict=True))
        self._kept.append(TokenScore(self._text(token), float(logs[token]), top))

    def take(self, shown: int | None = None) -> tuple[TokenScore, ...]:
        """What was kept since the last time: of the tokens that make the first `shown` characters, or of all. The others are
        held back as their text is."""
        count = len(self._kept)
        if shown is not None:
            starts = accumulate((len(score.text) for score in self._kept), initial=0)
            count = sum(start < shown for start, _ in zip(starts, self._kept, strict=False))
        taken, self._kept = tuple(self._kept[:count]), self._kept[count:]
        return taken

    def _text(self, token: int) -> str:
        return str(self._tokenizer.decode([token], skip_special_tokens=False))


class TextStream:
    """Tokens in, text out: whole characters only, and never the beginning of a stop string that may still complete."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, stop: Sequence[str]) -> None:
        from tokenizers.decoders import DecodeStream

        self._tokenizer = tokenizer.backend_tokenizer
        self._decoder = DecodeStream(skip_special_tokens=True)
        self._stop = [text for text in stop if text]
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Text that may be sent after this token."""
        self._held += self._decoder.step(self._tokenizer, token) or ""
        cut = min((at for text in self._stop if (at := self._held.find(text)) >= 0), default=-1)
        if cut >= 0:
            self.stopped = True
            out, self._held = self._held[:cut], ""
            return out
        keep = max((_overlap(self._held, text) for text in self._stop), default=0)
        out, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return out

    def flush(self) -> str:
        """What was held back, once no more tokens come."""
        out, self._held = self._held, ""
        return out


def _overlap(text: str, stop: str) -> int:
    """Length of the longest beginning of `stop` that `text` ends with."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:n])), 0)


def finish(stopped: bool, ended: bool) -> FinishReason:
    return "stop" if stopped or ended else "length"
