"""A customer's message as other people would send it: under other names, and in other ways to write. Pure.

Figures and codes are left as they are, whatever the way to write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bot.files import read_yaml


def reworded(text: str) -> dict[str, str]:
    """Who asks → the message: each name, each dialect, in the file's order."""
    words = _words()
    named = {name: words["introduction"].replace("{name}", name).replace("{}", text) for name in words["names"]}
    return named | {name: _in_dialect(text, dialect) for name, dialect in words["dialects"].items()}


def _in_dialect(text: str, dialect: Mapping[str, Any]) -> str:
    swaps = dict(dialect["swaps"])
    phrases = "|".join(re.escape(phrase) for phrase in sorted(swaps, key=len, reverse=True))
    # What a code or a mark joins on to is no word of its own.
    said = re.sub(rf"(?<![\w'-])(?:{phrases})(?![\w'-])", lambda match: swaps[match[0].lower()], text, flags=re.I)
    said = " ".join(said.split())
    if dialect.get("small"):
        said = re.sub(r"\b[A-Z][a-z']*\b(?![-\d])", lambda match: match[0].lower(), said)
    if dialect.get("bare"):
        said = said.rstrip(".!?")
    return str(dialect["around"]).replace("{}", said)


@cache
def _words() -> dict[str, Any]:
    return read_yaml(Path(__file__).with_name("fairness.yaml"))
