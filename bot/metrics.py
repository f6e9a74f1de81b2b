"""What a monitoring system reads at /metrics, in Prometheus' format: vLLM's names where vLLM has the thing, so that its
dashboards work, and `switchboard:` for what only this product has.

Contract: the agent tells of every reply that ended; the engine is asked for its state when somebody reads. Names of
adapters are the only text that gets out, never a customer's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from bot.types import EngineState

if TYPE_CHECKING:
    from bot.journal.journal import Exchange

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_ABORTED = ("cancelled", "deadline")
"""What vLLM calls "abort"."""
_TOKEN_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1)


class Metrics:
    """Counters of one desk. `state` says what its engine is doing."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, model: str, state: Callable[[], EngineState]) -> None:
        self._registry = CollectorRegistry()
        self._model = model

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(name, about, ("model_name", *labels), registry=self._registry)

        def histogram(name: str, about: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
            made = Histogram(name, about, ("model_name",), registry=self._registry, buckets=buckets)
            return made.labels(model)

        self._ended = counter("vllm:request_success", "Replies that ended.", "finished_reason")
        self._read = counter("vllm:prompt_tokens", "Tokens of prompts.").labels(model)
        self._made = counter("vllm:generation_tokens", "Tokens of replies.").labels(model)
        self._first = histogram("vllm:time_to_first_token_seconds", "From the message to the reply's first token.")
        self._whole = histogram("vllm:e2e_request_latency_seconds", "From the message to the reply's end.")
        self._token = histogram("vllm:request_time_per_output_token_seconds", "Mean time per token after the first.",
                                _TOKEN_SECONDS)  # fmt: skip
        self._searched = histogram("switchboard:search_seconds", "Finding passages.")
        self._adapter_replies = counter("switchboard:adapter_requests", "Replies with this adapter in their mix.", "adapter")
        self._adapter_tokens = counter("switchboard:adapter_generation_tokens", "Tokens of these replies.", "adapter")
        self._registry.register(_State(model, state))

    def observe(self, exchange: Exchange) -> None:
        """A reply ended, however it did. Times are those of replies that began: a refusal is quick and says nothing."""
        tokens, timings = exchange.usage.completion_tokens, exchange.timings
        self._ended.labels(self._model, "abort" if exchange.finish_reason in _ABORTED else exchange.finish_reason).inc()
        self._read.inc(exchange.usage.prompt_tokens)
        self._made.inc(tokens)
        if "search_ms" in timings:
            self._searched.observe(timings["search_ms"] / 1e3)
        if "first_token_ms" in timings:
            whole, first = timings["total_ms"] / 1e3, timings["first_token_ms"] / 1e3
            self._whole.observe(whole)
            self._first.observe(first)
            if tokens > 1:
                self._token.observe((whole - first) / (tokens - 1))
        for adapter, _ in exchange.mix.parts:
            self._adapter_replies.labels(self._model, adapter.ref).inc()
            self._adapter_tokens.labels(self._model, adapter.ref).inc(tokens)

    def text(self) -> bytes:
        """The page."""
        return generate_latest(self._registry)


class _State:
    """The engine's state at the moment of reading, as a prometheus_client collector."""

    def __init__(self, model: str, state: Callable[[], EngineState]) -> None:
        self._model, self._state = model, state

    def describe(self) -> list[Metric]:
        """Nothing is asked of the engine before somebody reads."""
        return []

    def collect(self) -> Iterator[Metric]:
        state = self._state()
        gauges = {
            "vllm:num_requests_running": ("Replies in the batch.", state.running),
            "vllm:num_requests_waiting": ("Replies that wait for their prompt to be read.", state.waiting),
            "switchboard:resident_adapters": ("Adapters in memory.", state.adapters),
        }
        counters = {
            "vllm:prefix_cache_queries": ("Tokens of prompts looked up among those already read.", state.prefix_queries),
            "vllm:prefix_cache_hits": ("Tokens found there.", state.prefix_hits),
        }
        for name, (about, value) in gauges.items():
            gauge = GaugeMetricFamily(name, about, labels=("model_name",))
            gauge.add_metric((self._model,), value)
            yield gauge
        for name, (about, value) in counters.items():
            count = CounterMetricFamily(name, about, labels=("model_name",))
            count.add_metric((self._model,), value)
            yield count
