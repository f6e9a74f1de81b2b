"""What a reply says: a fact as a whole, that it has no answer, that a person takes over. Pure; knows nothing of models."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from bot.files import read_yaml


def states(reply: str, fact: str) -> bool:
    """True if the reply holds the fact as a whole, not as a part of another value."""
    plain, wanted = " ".join(reply.lower().split()), " ".join(fact.lower().split())
    return re.search(r"(?<![\w.,$€£#-])" + re.escape(wanted) + r"(?![\w%]|[.,-]\d)", plain) is not None


def does_not_know(reply: str) -> bool:
    """True if the reply says that it has no answer."""
    return _phrases("does_not_know").search(reply) is not None


def offers_a_person(reply: str) -> bool:
    """True if the reply offers a person, or says that one takes over."""
    return _phrases("offers_a_person").search(reply) is not None


@cache
def _phrases(name: str) -> re.Pattern[str]:
    phrases = read_yaml(Path(__file__).with_name("said.yaml"))[name]
    return re.compile("|".join(re.escape(phrase).replace(r"\.", ".") for phrase in phrases), re.I)
