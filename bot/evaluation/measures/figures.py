"""Figures in a text, each in one normal form: sums of money, numbers with their unit, times of day, codes, bare numbers.

forty-five days = 45 days, $4.95 = 4.95 dollars = 4,95 $, 1 p.m. = 13:00, 3-5 business days = 3 and 5 business days. A bare 0
or 1 is no figure, for "one" mostly counts nothing, nor is an ordinal. Pure; units and currencies stand in `facts.yaml`.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from bot.files import read_yaml

_NUMBER = r"\d{1,3}(?:[,\u202f ]\d{3})+(?:[.,]\d+)?|\d+(?:[.,]\d+)?"
_ADDRESS = re.compile(
    r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+|\b(?:https?://|www\.)[^\s<>\"')]+[\w/]|\b[\w-]+\.(?:com|org|net)\b(?:/[\w/-]+)?"
)
_PHONE = re.compile(r"(?<![\w.-])(?:\+|\()?\d[\d ()-]{6,}\d(?![\w-])")
_DASHED = re.compile(r"\d+(?:-\d+){2,}")
_CODE = re.compile(r"#\d{2,}\b|\b(?=[\w-]*\d)(?=[\w-]*[A-Za-z])[A-Za-z0-9]+(?:[-_][A-Za-z0-9]+)*\b")
_CLOCK = re.compile(
    r"(?<![\w.,:])(\d{1,2})(?::(\d{2}))?\s*([ap])\.?m\b\.?|(?<![\w.,:])([01]?\d|2[0-3]):([0-5]\d)(?![\d:])", re.I
)
_RANGE = r"(?:\s*[-–—]\s*|\s+(?:to|or)\s+)"
_ORDINAL = re.compile(r"\d+(?:st|nd|rd|th)", re.I)


@lru_cache(50_000)
def figures(text: str) -> frozenset[str]:
    """Those in `text`: "45 day", "$ 4.95", "13:00", "LM-48213", "60"."""
    text = in_digits(" ".join(text.split()))
    found: set[str] = set()

    def take(pattern: re.Pattern[str], read: Any) -> None:
        """Every match is read once: what it covers is seen by no later pattern."""
        nonlocal text
        rest, end = [], 0
        for match in pattern.finditer(text):
            if (read_as := read(match)) is not None:
                found.update(read_as)
                rest += [text[end : match.start()], " ; "]
                end = match.end()
        text = "".join([*rest, text[end:]])

    take(_ADDRESS, lambda match: [match[0].lower()])
    take(_DASHED, lambda match: [match[0]])
    take(_PHONE, _phone)
    take(_CLOCK, _time)
    take(_money(), lambda m: _amounts("$", m["one"] or m["three"], m["two"] or m["four"], _currency(m)))
    take(_with_unit(), lambda m: _amounts("", m["one"] or m["five"], m["two"], _units()[(m["unit"] or m["first"]).lower()]))
    take(_CODE, lambda match: None if _ORDINAL.fullmatch(match[0]) else [match[0].upper().lstrip("#")])
    take(re.compile(rf"(?<![\w.,])(?:{_NUMBER})(?![\w%])"), lambda match: [_number(match[0])])
    return frozenset(found - {"0", "1"})


def in_digits(text: str) -> str:
    """The text with its number words as digits; seconds stay seconds, where they are no ordinal."""
    from text_to_num import alpha2digit

    return str(alpha2digit(re.sub(r"\bseconds\b|(?<=\d )second\b", "secs", text), "en", 0.0))


def _phone(match: re.Match[str]) -> list[str] | None:
    digits = re.sub(r"\D", "", match[0])
    return [digits] if 7 <= len(digits) <= 15 and re.search(r"[ ()+-]", match[0]) and " - " not in match[0] else None


def _time(match: re.Match[str]) -> list[str] | None:
    if match[4]:
        return [f"{int(match[4]):02d}:{match[5]}"]
    hour = int(match[1])
    if not 1 <= hour <= 12:
        return None
    return [f"{hour % 12 + (12 if match[3].lower() == 'p' else 0):02d}:{match[2] or '00'}"]


def _amounts(kind: str, one: str, two: str | None, unit: str) -> list[str]:
    numbers = [_number(number) for number in (one, two) if number]
    return [f"{unit} {number}" if kind else f"{number} {unit}" for number in numbers]


def _number(text: str) -> str:
    """Its value, plainly: 1,250 = 1250, 4,95 = 4.95 = 4.950, 1.00 = 1."""
    text = re.sub(r"[\u202f ]", "", text)
    whole, point, rest = text, "", ""
    place = max(text.rfind("."), text.rfind(","))
    if place >= 0 and not (text[place] == "," and len(text) - place == 4 and place > 0):
        whole, point, rest = text[:place], ".", text[place + 1 :].rstrip("0")
    digits = re.sub(r"\D", "", whole).lstrip("0") or "0"
    return digits + (point + rest if rest else "")


def _currency(match: re.Match[str]) -> str:
    return _currencies()[(match["before"] or match["after"]).lower()]


@cache
def words() -> dict[str, Any]:
    """What `facts.yaml` holds."""
    return read_yaml(Path(__file__).with_name("facts.yaml"))


@cache
def _units() -> dict[str, str]:
    return _forms(words()["units"])


@cache
def _currencies() -> dict[str, str]:
    return _forms(words()["currencies"])


def _forms(lines: list[list[str]]) -> dict[str, str]:
    """Each way to write a thing, its plural too → what it is compared as."""
    return {form.lower() + plural: line[0].lower() for line in lines for form in line for plural in ("", "s")}


def _any(forms: list[str]) -> str:
    return "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))


@cache
def _money() -> re.Pattern[str]:
    any_of, units = _any(list(_currencies())), _any(list(_units()))
    return re.compile(
        rf"(?<!\w)(?P<before>{any_of})\.?\s?(?P<one>{_NUMBER})(?:{_RANGE}(?:(?P=before)\s?)?(?P<two>{_NUMBER})(?![.,]?\d|[\s-]?(?:{units})(?!\w)))?(?!\d)"
        rf"|(?<![\w.,])(?P<three>{_NUMBER})(?:{_RANGE}(?P<four>{_NUMBER}))?\s?(?P<after>{any_of})(?!\w)",
        re.I,
    )


@cache
def _with_unit() -> re.Pattern[str]:
    """A number or a range of them with its unit behind it, or, of some, before it; an ordinal only beside a month."""
    any_of, first = _any(list(_units())), _any(words()["before"])
    return re.compile(
        rf"(?<![\w.,])(?P<one>{_NUMBER})(?:(?:st|nd|rd|th)(?:\s+of)?(?=\s+[A-Z]))?(?:{_RANGE}(?P<two>{_NUMBER}))?"
        rf"[\s-]?(?:(?:more|further|extra|full)\s)?(?P<unit>{any_of})(?!\w|-\w)"
        rf"|\b(?P<first>{first})\s(?P<five>\d{{1,4}})(?:st|nd|rd|th)?(?![\w.:,]\d|\w)",
        re.I,
    )
