"""Where personal data stands in one text: a finder for each of eight structured kinds, the surest first.

A finder gives spans. Names of people have no structure and are not found. Numbers that are prices, dates, counts or
models are nobody's: a bare number counts only for what stands around it (`words.yaml` has the words). Knows
nothing of conversations and placeholders.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

from bot.files import read_yaml

Span = tuple[int, int]
WORDS: dict[str, list[str]] = read_yaml(Path(__file__).with_name("words.yaml"))


def any_of(key: str) -> str:
    """A pattern for the words under `key`, each to its end."""
    words = sorted(WORDS[key], key=len, reverse=True)
    return "(?:" + "|".join(re.escape(word) + (r"(?!\w)" if word[-1].isalnum() else "") for word in words) + ")"


_EMAIL = re.compile(
    r"(?<![\w.+-])[\w.+%'’&-]*\w@(?:[\w-]+\.)+[^\W\d_]{2,24}(?![\w-])"
    r"|(?<![\w.+-])(?:[\w.+'-]+\s?[\[(]\s?dot\s?[\])]\s?)*[\w.+'-]+\s?(?:[\[(]\s?at\s?[\])]|\bat\b)\s?[\w-]+(?:\s?(?:[\[(]\s?dot\s?[\])]|\bdot\b)\s?[\w-]+)+",
    re.I,
)
_IPV4 = re.compile(r"(?<![\w.-])(?:\d{1,3}\.){3}\d{1,3}(?![\w-]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?=[^\s]*:[^\s]*:)[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:])", re.I)
_VERSION = re.compile(rf"\b{any_of('version')}\W{{0,3}}(?:version\s)?$", re.I)
_IBAN = re.compile(r"(?<![A-Z0-9])[A-Z]{2}[ -]?\d{2}(?:[ -]?[A-Z0-9]){11,31}", re.I)
_BY_IBAN = re.compile(r"\biban\b[\s:#=(]{0,4}(?:is|number|no\.?)?[\s:]{0,2}$", re.I)
_CARD = re.compile(r"(?<![\w-])(?:\d{4}([ -]?)\d{4}\1\d{4}\1\d{1,7}|\d{4}([ -]?)\d{6}\2\d{4,5}|\d{13,19})(?![\w]|-\w)")


def emails(text: str) -> Iterator[Span]:
    if "@" in text or " dot " in text.lower() or "dot]" in text.lower() or "dot)" in text.lower():
        yield from (found.span() for found in _EMAIL.finditer(text))


def internet_addresses(text: str) -> Iterator[Span]:
    """IPv4 and IPv6. What stands after "firmware" or "version" is a version."""
    for pattern in (_IPV4, _IPV6):
        for found in pattern.finditer(text):
            try:
                ipaddress.ip_address(found[0])
            except ValueError:
                continue
            if not _VERSION.search(text[: found.start()]):
                yield found.span()


def ibans(text: str) -> Iterator[Span]:
    """By check digits and the country's length; by shape alone right after the word IBAN."""
    from stdnum import iban

    for found in _IBAN.finditer(text):
        ends = [place + 1 for place in range(found.start(), found.end()) if text[place].isalnum()]
        lengths = [end for number, end in enumerate(ends, 1) if number >= 15]
        fitting = [end for end in lengths if iban.is_valid(text[found.start() : end], check_country=False)]
        if fitting:
            yield found.start(), fitting[-1]
        elif _BY_IBAN.search(text[: found.start()]):
            groups = re.match(r"(?:\S*\d\S*[ -]?)+", found[0])
            yield found.start(), found.start() + len(groups[0].rstrip(" -") if groups else found[0])


def cards(text: str) -> Iterator[Span]:
    """13 to 19 digits as cards are written, with Luhn's check digit; whatever the check digit after "card"."""
    from stdnum import luhn

    for found in _CARD.finditer(text):
        digits = re.sub(r"\D", "", found[0])
        near = re.search(r"\b(?:card|visa|mastercard|amex)\b\D{0,25}$", text[: found.start()], re.I)
        if near or (digits[0] in "23456" and luhn.is_valid(digits)):
            yield found.span()


_SHAPE = r"[A-Z]{1,5}[-_/]?\d{4,}(?:-\d+)*|\d{3}-\d{6,7}-\d{6,7}|\d{5,}(?:[-/]\d+)*|\d+(?:-\d{2,}){1,4}"
"""A code that says by itself that it is one."""
_CODE = r"[A-Z0-9]+(?:[-_/.][A-Z0-9]+)*|\d{2,}(?: \d{2,})+"
_ORDER_ALONE = re.compile(
    r"(?<![\w-])(?:[A-Z]{2,4}-\d{5,}|(?:ORD|ORDER|INV|RMA|PO|SO|TKT|TRK|CASE|REF)[-_#]?\d{4,}(?:-\d+)*|\d{3}-\d{7}-\d{7}"
    r"|1Z[0-9A-Z]{16}|OD\d{12,}|#\s?[A-Z]{0,4}-?\d{4,}(?:-\d+)*)(?![\w])",
    re.I,
)
_DATE = re.compile(r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:\d{4}|\d{2}))(?!\d)")
_SORT_CODE = re.compile(r"\bsort\s?code\b\D{0,8}(\d{2}[- ]?\d{2}[- ]?\d{2})(?!\d)", re.I)


@cache
def _after(kind: str) -> re.Pattern[str]:
    between = rf"(?:\s*(?:{any_of('filler')}|\b{any_of('marker')}\.?))"
    return re.compile(
        rf"(?<!\bin\s)\b{any_of(kind)}(?P<between>{between}{{0,6}})\s*#?\s*"
        rf"(?P<code>\d{{2,4}}(?: \d{{2,4}}){{1,5}}(?![\w.,]\d|\w)"
        rf"|(?:{_SHAPE}|{_CODE})(?![\w]))",
        re.I,
    )


_MARKED = re.compile(rf"\b{any_of('marker')}|#|number:|:\s*$", re.I)
_AND = re.compile(rf"\s*(?:,|and|&|\+|or|/)\s*#?(?P<code>(?:{_SHAPE}))(?!\w)", re.I)


def _codes(text: str, kind: str) -> Iterator[Span]:
    for found in _after(kind).finditer(text):
        code, marked = found["code"], bool(_MARKED.search(found["between"]) or "#" in found[0])
        digits = sum(letter.isdigit() for letter in code)
        stands_alone = re.fullmatch(_SHAPE, code, re.I) and (digits >= 5 or (digits >= 4 and not code[0].isdigit()))
        stands_alone = stands_alone or digits >= 8 or (" " in code and digits >= 7)
        if digits < 3 or _DATE.fullmatch(code) or _amount(text, *found.span("code")) or not (marked or stands_alone):
            continue
        yield found.span("code")
        end = found.end("code")
        while further := _AND.match(text, end):
            yield further.span("code")
            end = further.end("code")


def _amount(text: str, start: int, end: int) -> bool:
    """Whether the number is money, a share or a count of something."""
    return bool(
        re.search(r"(?:[$€£₹¥]|\b(?:USD|EUR|GBP|INR|Rs\.?))\s?$", text[:start], re.I)
        or re.match(
            r"\s?(?:[$€£₹¥%°]|(?:USD|EUR|GBP|INR|days?|hours?|weeks?|months?|minutes?|lumens?|lm|watts?|kelvin)\b)",
            text[end:],
            re.I,
        )
    )


def orders(text: str) -> Iterator[Span]:
    """Numbers of orders, tickets, parcels and invoices: beside such a word, or of a shape only they have."""
    yield from _codes(text, "order")
    yield from (found.span() for found in _ORDER_ALONE.finditer(text))


def accounts(text: str) -> Iterator[Span]:
    """Numbers of accounts, customers, members and contracts, beside such a word."""
    yield from (found.span(1) for found in _SORT_CODE.finditer(text))
    yield from _codes(text, "account")


_NUMBER = re.compile(r"(?<![\w.,$€£₹-])(?:\+|\(\+|00)?[(]?\d(?:[ ().\-/]{0,2}\d){6,14}(?![\w]|[.,-]\d)")
_BY_PHONE = re.compile(rf"\b{any_of('phone')}\b[^\d]{{0,40}}$", re.I)


def phones(text: str) -> Iterator[Span]:
    """What libphonenumber takes for a number in one of the regions, if it is written like one; any number of 7 to 15
    digits after a word such as "call"."""
    import phonenumbers

    candidates = [found for found in _NUMBER.finditer(text) if not _DATE.match(found[0].strip("( "))]
    if not candidates:
        return
    for found in candidates:
        if _BY_PHONE.search(text[: found.start()]) and not _amount(text, *found.span()):
            yield found.span()
    for region in WORDS["regions"]:
        for match in phonenumbers.PhoneNumberMatcher(text, region):
            if not _DATE.match(match.raw_string) and not _amount(text, match.start, match.end):
                yield match.start, match.end
    yield from (found.span() for found in candidates if found[0].lstrip("(").startswith(("+", "00")))


_CAPITAL = r"[A-ZÀ-ÖØ-Þ](?:[\w'’-]|\.(?=\s?[A-Z]))*"
_TOWN = rf"{_CAPITAL}(?:[ -](?:{_CAPITAL}|am|an|der|de|la|le|les|sur|den|upon|on)){{0,3}}"
_UK = r"[A-Z]{1,2}\d[A-Z\d]? ?\d[A-Z]{2}\b"
_STATE_ZIP = rf"(?:{any_of('states')}\.?,?[ ]\d{{4,5}}(?:-\d{{4}})?)\b"
_UNIT = r"(?:,?\s(?:Apt|Apartment|Unit|Suite|Ste|Flat|Floor|#)\.?\s?#?\w+\b)"
_ZIP_TOWN = rf"(?:(?:[A-Z]{{1,2}}-)?\d{{4,5}}(?:\s?[A-Z]{{2}}\b)?,?\s{_TOWN})"
_TOWN_ZIP = (
    rf"(?:{_TOWN},?\s(?:{_STATE_ZIP}|{_UK}|[-–]?\s?\d{{6}}\b|[-–]?\s?\d{{3}}\s\d{{3}}\b|\d{{4,5}}\b)|{_UK}|\d{{5,6}}\b)"
)
_TAIL = rf"{_UNIT}?(?:,?\s(?:in\s)?(?:{_CAPITAL},\s){{0,3}}(?:{_ZIP_TOWN}|{_TOWN_ZIP}))?"
_HOUSE = r"\d{1,5}(?:\s?[A-Za-z]\b|[-/]\d{1,4}\w?|\s?bis\b|\s?ter\b)?"
_WORD = rf"(?!{any_of('not_in_street')})[^\W\d][\w'’.-]*"
_IN_CAPITALS = rf"(?:(?:{_CAPITAL}|\d+(?:st|nd|rd|th))\s){{1,3}}{any_of('street_in_capitals')}\b(?:\.(?=,))?"
_IN_ANY_CASE = rf"(?i:(?:{_WORD}\s|\d+(?:st|nd|rd|th)\s){{1,3}}{any_of('street')}\b(?:\.(?=,?\s\w))?)"
_NAMED = rf"{_CAPITAL}(?:\s(?:de |la |le |del )?{_CAPITAL}){{0,3}}"
_OF = r"(?i:(?:de|du|des|la|le|les|do|da|del|della|dei|los|las|el|d['’]|l['’])\s?){0,3}"
_FIRST = any_of("street_first")
_ADDRESSES = (
    # 12 High Street, Flat 3, Leeds LS1 4AB
    (r"\d", rf"\b{_HOUSE},?\s(?:(?:[NSEW]|[NS][EW])\.?\s)?(?:{_IN_ANY_CASE}|{_IN_CAPITALS}){_TAIL}"),
    # Lange Gasse 5, 80331 München; Keizersgracht 12, 1015 AB Amsterdam; Am Markt 3, 50667 Köln
    (rf"(?i:{any_of('street_end')})\s\d", rf"\b(?i:[^\W\d][\w-]*[ -]?{any_of('street_end')})\s{_HOUSE}\b{_TAIL}"),
    (r"\d{5}\s", rf"\b(?:Am|An|Auf|Im|In|Zum|Zur|Unter)\s(?:de[nr]\s)?{_CAPITAL}\s{_HOUSE},\s{_ZIP_TOWN}"),
    # 5 bis rue de la Paix, 75002 Paris; Calle Mayor 3, 28013 Madrid
    (rf"(?i:\b{_FIRST})", rf"\b{_HOUSE},?\s(?i:{_FIRST})\.?\s{_OF}{_NAMED}{_TAIL}"),
    (rf"(?i:\b{_FIRST}|C/)", rf"\b(?i:{_FIRST}|C/)\.?\s?{_OF}{_NAMED},?\s(?:n[º°]?\.?\s?)?{_HOUSE}\b{_TAIL}"),
    # Flat 12, Lotus Apartments, MG Road, Bengaluru 560034
    (
        r"\d{3}\s?\d{3}",
        r"\b(?i:flat|plot|house|door|apartment)(?:\s(?i:no)\.?|\s?#)?\s?"
        rf"{_HOUSE},\s(?:[\w'’.\s-]{{2,40}},\s){{0,4}}{_TOWN}\s?[-–,]?\s?\d{{3}}\s?\d{{3}}\b",
    ),
    (r"(?i:box|postfach)", rf"\b(?i:p\.?\s?o\.?\s?box|postfach)\s\d+(?:,\s(?:{_ZIP_TOWN}|{_TOWN_ZIP}))?"),
    # What is left of one: a town with its code, a code after its word.
    (rf",\s{_STATE_ZIP}", rf"\b{_TOWN},\s{_STATE_ZIP}"),
    (r"\d[A-Z]{2}", r"(?<![\w-])[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}(?!\w)"),
    (
        r"(?i:zip|post|pin|plz)",
        r"(?i:\b(?:zip|post(?:al)?\s?code|postcode|pin\s?code|plz)(?:\scode)?(?:\s(?:is|number))?[\s:]+)"
        r"(?P<code>(?=\S*\d)[A-Za-z0-9]{3,7}(?:[ -]\w{3,4}(?=\W|$))?)",
    ),
)
"""What a text must hold, which is quickly seen, and the address."""
_ADDRESS = tuple((re.compile(must), re.compile(pattern)) for must, pattern in _ADDRESSES)
_DIGIT = re.compile(r"\d")


def addresses(text: str) -> Iterator[Span]:
    """Street with house number, as written in English, German, Dutch, French, Spanish and Italian, with what follows up to
    the postal code; post boxes; codes with their town."""
    if not _DIGIT.search(text):
        return
    for must, pattern in _ADDRESS:
        for found in pattern.finditer(text) if must.search(text) else ():
            yield found.span("code") if "code" in pattern.groupindex else found.span()


KINDS: dict[str, Callable[[str], Iterator[Span]]] = {
    "EMAIL": emails,
    "IP": internet_addresses,
    "IBAN": ibans,
    "CARD": cards,
    "ADDRESS": addresses,
    "ORDER": orders,
    "ACCOUNT": accounts,
    "PHONE": phones,
}
"""In this order: what an earlier one took is not looked at by a later one."""
