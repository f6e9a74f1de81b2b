"""The one table of limits, and the checks that every message and mix passes before anything costs time."""

from __future__ import annotations

from collections.abc import Sequence

from bot.errors import AdapterError, InvalidMessage
from bot.types import Message, Mix, Sampling

MAX_MESSAGE = 8_000
"""Characters in one message."""
MAX_MESSAGES = 200
"""Messages in one request."""
MAX_RENDERED = 100_000
"""Characters of all messages as sent to an engine."""
MAX_TOKENS = 2_048
"""Tokens that a reply may ask for."""
MAX_STOPS = 8
"""Stop strings in one request."""
MAX_LOGPROBS = 20
"""Likeliest tokens told beside each one chosen."""
MAX_ADAPTERS = 8
"""Adapters in one mix."""
MAX_WEIGHT = 4.0
"""Weight of an adapter in a mix."""
MAX_SEED = 2**63 - 1
MAX_BODY = 2_000_000
"""Bytes of an HTTP body."""


def check_text(text: str, what: str = "The message") -> str:
    """`text`, or InvalidMessage when it is empty, too long, or not Unicode that can be written down."""
    if not text.strip():
        raise InvalidMessage(f"{what} is empty.", "Type a question.")
    if len(text) > MAX_MESSAGE:
        raise InvalidMessage(
            f"{what} has {len(text):,} characters; at most {MAX_MESSAGE:,} are read.", "Shorten it or send it in parts."
        )
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidMessage(
            f"{what} is not valid Unicode: {error.reason} at character {error.start}.", "Send it as UTF-8."
        ) from None
    return text


def check_messages(messages: Sequence[Message]) -> None:
    """The conversation is short enough, and its last message is a customer's."""
    if not messages or messages[-1].role != "user":
        raise InvalidMessage("The last message is not the customer's.", "End the list with a message of role user.")
    if len(messages) > MAX_MESSAGES:
        raise InvalidMessage(f"{len(messages)} messages; at most {MAX_MESSAGES} are read.", "Leave out the oldest.")
    for number, message in enumerate(messages, 1):
        check_text(message.content, "The message" if number == len(messages) else f"Message {number}")


def check_sampling(sampling: Sampling, seed: int) -> Sampling:
    """`sampling`, or InvalidMessage naming what is out of range."""
    rules = {
        f"seed is {seed}; it goes from 0 to {MAX_SEED}": 0 <= seed <= MAX_SEED,
        f"temperature is {sampling.temperature}; it goes from 0 to 2": 0 <= sampling.temperature <= 2,
        f"top_p is {sampling.top_p}; it is above 0 and at most 1": 0 < sampling.top_p <= 1,
        f"max_tokens is {sampling.max_tokens}; it goes from 1 to {MAX_TOKENS}": 1 <= sampling.max_tokens <= MAX_TOKENS,
        f"min_tokens is {sampling.min_tokens}; it goes from 0 to max_tokens": 0
        <= sampling.min_tokens
        <= sampling.max_tokens,
        f"top_logprobs is {sampling.logprobs}; it goes from 0 to {MAX_LOGPROBS}": 0
        <= (sampling.logprobs or 0)
        <= MAX_LOGPROBS,
        f"there are {len(sampling.stop)} stop strings; at most {MAX_STOPS} are watched for": len(sampling.stop) <= MAX_STOPS,
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise InvalidMessage(f"{'; '.join(broken)}.", "Correct the request.")
    return sampling


def check_mix(mix: Mix) -> Mix:
    """`mix`, or AdapterError where its adapters may not stand together."""
    soft = [(adapter, weight) for adapter, weight in mix.parts if adapter.method == "soft-prompt"]
    if len(soft) > 1:
        raise AdapterError(
            f"The mix {mix} has {len(soft)} soft prompts; at most one stands before a prompt.", "Keep one of them."
        )
    if soft and soft[0][1] != 1:
        raise AdapterError(
            f"{soft[0][0].ref}*{soft[0][1]:g} is a soft prompt, which has no other weight than 1.",
            f"Write {soft[0][0].ref} without a weight, or leave it out.",
        )
    classifier = next((adapter.ref for adapter, _ in mix.parts if adapter.method == "classifier"), "")
    if classifier:
        raise AdapterError(f"{classifier} is a classifier, which writes no replies.", "Leave it out of the mix.")
    return mix
