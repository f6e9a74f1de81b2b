"""Personal data → placeholders such as [EMAIL_1], before anything else sees the text.

Within a conversation the same value has the same placeholder, so that a reply still speaks of the order that was asked
about; between conversations placeholders mean nothing. What is found is counted by kind, never kept.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from bot.personal.kinds import KINDS, any_of

_PLACEHOLDER = re.compile(r"\[([A-Z]+)_(\d+)\]")
_ASKED = re.compile(
    rf"\b(?:(?P<ORDER>{any_of('order')})|(?P<ACCOUNT>{any_of('account')})"
    rf"|(?P<PHONE>{any_of('phone')}))(?:\s\w+)?\s(?:number|no\.?|id|code|nummer)",
    re.I,
)
"""What the turn before asked for: the answer is often the bare number."""
_BARE = re.compile(r"(?<![\w.,$€£₹/-])#?(?:[A-Z]{1,5}[-_]?)?\d{4,}(?:[- ]\d{2,})*(?![\w%]|[.,]\d)", re.I)
_MAYBE = re.compile(r"\d|@|\bdot\b", re.I)
_SIGNIFICANT = 8
"""Last digits by which telephone numbers with and without country code are the same."""

Found = tuple[int, int, str]


def scrub(texts: Sequence[str], counts: Counter[str]) -> list[str]:
    """The texts of one conversation with placeholders. `counts` gains one for each place that was replaced, by kind."""
    found = [_find(text, texts[number - 1] if number else "") for number, text in enumerate(texts)]
    codes = {
        text[start:end]: kind
        for text, spans in zip(texts, found, strict=True)
        for start, end, kind in spans
        if kind in ("ORDER", "ACCOUNT", "PHONE") and end - start > 4
    }
    # A code named once with its word stands alone afterwards: "order AB-1234" … "and AB-1234 is late".
    again = re.compile("|".join(rf"(?<!\w){re.escape(code)}(?!\w)" for code in sorted(codes, key=len, reverse=True)))
    numbers: dict[tuple[str, str], int] = {}
    given: Counter[str] = Counter()
    for kind, number in (place for text in texts for place in _PLACEHOLDER.findall(text)):
        given[kind] = max(given[kind], int(number))
    scrubbed = []
    for text, spans in zip(texts, found, strict=True):
        if codes:
            _add(spans, [(*match.span(), codes[match[0]]) for match in again.finditer(text)])
        pieces, at = [], 0
        for start, end, kind in sorted(spans):
            value = (kind, _same(kind, text[start:end]))
            if value not in numbers:
                given[kind] += 1
                numbers[value] = given[kind]
            counts[kind] += 1
            pieces += [text[at:start], f"[{kind}_{numbers[value]}]"]
            at = end
        scrubbed.append("".join([*pieces, text[at:]]))
    return scrubbed


def scrub_remark(text: str) -> str:
    """`text` as it may stand in a log."""
    return scrub([text], Counter())[0]


def _find(text: str, before: str) -> list[Found]:
    spans: list[Found] = []
    if not _MAYBE.search(text):
        return spans
    for kind, finder in KINDS.items():
        _add(spans, [(*span, kind) for span in finder(text)])
    asked = [match.lastgroup for match in _ASKED.finditer(before)]
    if asked:
        _add(spans, [(*match.span(), asked[-1] or "ORDER") for match in _BARE.finditer(text) if len(match[0]) > 4])
    return spans


def _add(spans: list[Found], more: Sequence[Found]) -> None:
    """Of overlapping ones the first stays; of those found together the longest."""
    for start, end, kind in sorted(more, key=lambda span: span[0] - span[1]):
        if start < end and all(end <= other[0] or other[1] <= start for other in spans):
            spans.append((start, end, kind))


def _same(kind: str, value: str) -> str:
    """Two ways to write one value are one."""
    plain = value.casefold() if kind == "EMAIL" else re.sub(r"[\W_]", "", value).casefold()
    return plain[-_SIGNIFICANT:] if kind == "PHONE" else plain
