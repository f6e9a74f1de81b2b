"""What a reply must hold, as strict data, and whether it does: the one format of cases, scenarios and measurements.

Texts may hold the prompt's variables as `{name}`; a brace meant as a brace is doubled where a name would stand in it.
Letters' case, line breaks and kinds of quotes do not count, and a figure is a whole figure: "5 days" is not in "45 days".
Patterns are RE2's, which take linear time whatever they are. Knows nothing of prompts, versions and engines.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from bot.types import Embedder, Passage

MAX_TEXT = 2_000
MAX_PATTERN = 500
_NAME = re.compile(r"\{\{|\}\}|\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")
_NAME_IN_PATTERN = re.compile(r"(?<!\\[pP])\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")
_QUOTES = str.maketrans("‘’‚“”„", "'''\"\"\"")
_AROUND_A_LABEL = " \t\n.,:;!\"'`*[]()"

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]


class Similar(BaseModel):
    """The cosine between the reply's embedding and that of `to`."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    to: Text
    at_least: float = Field(gt=0, le=1)


class Assertion(BaseModel):
    """Exactly one thing that a reply must hold."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    contains: Text | None = None
    not_contains: Text | None = None
    regex: Annotated[str, Field(min_length=1, max_length=MAX_PATTERN)] | None = None
    max_sentences: int | None = Field(None, ge=1, le=100)
    ends_with: Text | None = None
    cites_passage: Literal[True] | None = None
    shape: dict[str, Any] | None = Field(None, alias="json")
    label_equals: Text | None = None
    similar: Similar | None = None

    @property
    def kind(self) -> str:
        return next(name for name in type(self).model_fields if getattr(self, name) is not None)

    @model_validator(mode="after")
    def _is_one_that_can_be_checked(self) -> Assertion:
        given = [field.alias or name for name, field in type(self).model_fields.items() if getattr(self, name) is not None]
        if len(given) != 1:
            known = ", ".join(field.alias or name for name, field in type(self).model_fields.items())
            raise ValueError(f"an assertion says one thing of {known}; here are {', '.join(given) or 'none'}")
        if self.regex is not None:
            _compiled(self.regex)
        if self.shape is not None:
            _check_shape(self.shape)
        return self


async def failures(
    assertions: Sequence[Assertion],
    reply: str,
    values: Mapping[str, str],
    passages: Sequence[Passage],
    embedder: Embedder | None,
) -> list[str]:
    """One sentence for each assertion that does not hold, in their order; none where all hold.

    `values` are the prompt's variables as filled in, `passages` those that the model was shown. What `ends_with` asks for
    (a signature, say) is not counted by `max_sentences` beside it.
    """
    endings = tuple(_filled(a.ends_with, values) for a in assertions if a.ends_with is not None)
    said = _Said(reply, values, passages, embedder, endings)
    found = []
    for assertion in assertions:
        unknown = sorted(names_in(assertion) - set(values))
        if unknown and assertion.regex is None:
            names = ", ".join(f"{{{name}}}" for name in unknown)
            found.append(f"What is asked for holds {names}, which is no variable of the prompt.")
        elif fault := await _CHECKS[assertion.kind](assertion, said):
            found.append(fault)
    return found


def names_in(assertion: Assertion) -> set[str]:
    """Names of the variables that its text holds."""
    text = assertion.contains or assertion.not_contains or assertion.ends_with or assertion.label_equals or ""
    if assertion.similar:
        text = assertion.similar.to
    if assertion.regex:
        return {match[1] for match in _NAME_IN_PATTERN.finditer(assertion.regex)}
    return {match[1] for match in _NAME.finditer(text) if match[1]}


def sentences(text: str, language: str = "en") -> list[str]:
    """The sentences in `text`; a line is at least one, what holds no letter is none."""
    from sentencex import segment

    parts = [part for line in text.splitlines() for part in segment(language, line)]
    return [part.strip() for part in parts if any(letter.isalpha() for letter in part)]


@dataclass(frozen=True, slots=True)
class _Said:
    reply: str
    values: Mapping[str, str]
    passages: Sequence[Passage]
    embedder: Embedder | None
    endings: tuple[str, ...]

    def filled(self, text: str | None) -> str:
        return _filled(text or "", self.values)


def _filled(text: str, values: Mapping[str, str]) -> str:
    return _NAME.sub(lambda match: values.get(match[1], match[0]) if match[1] else match[0][0], text)


def _plain(text: str) -> str:
    """`text` as it is compared."""
    return " ".join(unicodedata.normalize("NFKC", text).translate(_QUOTES).casefold().split())


def _holds(reply: str, text: str) -> bool:
    wanted = _plain(text)
    before = r"(?<!\d)(?<!\d[.,])" if wanted[:1].isdigit() else ""
    after = r"(?!\d|[.,]\d)" if wanted[-1:].isdigit() else ""
    return bool(re.search(before + re.escape(wanted) + after, _plain(reply)))


async def _contains(assertion: Assertion, said: _Said) -> str:
    text = said.filled(assertion.contains)
    return "" if _holds(said.reply, text) else f"The reply does not contain “{text}”."


async def _not_contains(assertion: Assertion, said: _Said) -> str:
    text = said.filled(assertion.not_contains)
    return f"The reply contains “{text}”." if _holds(said.reply, text) else ""


async def _regex(assertion: Assertion, said: _Said) -> str:
    import re2

    def value(match: re.Match[str]) -> str:
        return str(re2.escape(said.values[match[1]])) if match[1] in said.values else match[0]

    pattern = _NAME_IN_PATTERN.sub(value, assertion.regex or "")
    return "" if _compiled(pattern).search(said.reply) else f"The reply does not match the pattern {assertion.regex}."


async def _max_sentences(assertion: Assertion, said: _Said) -> str:
    text = said.reply
    for ending in (ending for ending in said.endings if any(letter.isalpha() for letter in ending)):
        words = r"\s+".join(re.escape(word) for word in ending.split())
        text = re.sub(rf"\s*{words}\s*\Z", "", text, flags=re.I)
    count, most = len(sentences(text)), assertion.max_sentences or 0
    return "" if count <= most else f"The reply has {count} sentences; at most {most} are allowed."


async def _ends_with(assertion: Assertion, said: _Said) -> str:
    text = said.filled(assertion.ends_with)
    return "" if _plain(said.reply).endswith(_plain(text)) else f"The reply does not end with “{text}”."


async def _cites_passage(assertion: Assertion, said: _Said) -> str:
    if not said.passages:
        return "The reply cites no passage: none was shown."
    numbers = {int(number) for number in re.findall(r"\[(\d{1,4})\]", said.reply)}
    cited = numbers & set(range(1, len(said.passages) + 1)) or any(_holds(said.reply, p.title) for p in said.passages)
    return "" if cited else "The reply cites no passage, neither by number, like [1], nor by title."


async def _json(assertion: Assertion, said: _Said) -> str:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    try:
        value = json.loads(said.reply)
    except (json.JSONDecodeError, RecursionError) as error:
        return f"The reply is not JSON: {error}."
    fault = best_match(Draft202012Validator(assertion.shape or {}).iter_errors(value))
    return f"The reply's JSON does not fit at {fault.json_path}: {fault.message[:200]}." if fault else ""


async def _label_equals(assertion: Assertion, said: _Said) -> str:
    text = said.filled(assertion.label_equals)
    same = _plain(said.reply).strip(_AROUND_A_LABEL) == _plain(text).strip(_AROUND_A_LABEL)
    return "" if same else f"The label is not “{text}”."


async def _similar(assertion: Assertion, said: _Said) -> str:
    wanted = assertion.similar
    if wanted is None or said.embedder is None:
        return "Whether the reply is similar cannot be told without an embedding model."
    reply, reference = await said.embedder.embed([said.reply, said.filled(wanted.to)])
    likeness = float(reply @ reference)
    return "" if likeness >= wanted.at_least else f"The reply's similarity is {likeness:.2f}, below {wanted.at_least:g}."


_CHECKS: dict[str, Callable[[Assertion, _Said], Awaitable[str]]] = {
    "contains": _contains,
    "not_contains": _not_contains,
    "regex": _regex,
    "max_sentences": _max_sentences,
    "ends_with": _ends_with,
    "cites_passage": _cites_passage,
    "shape": _json,
    "label_equals": _label_equals,
    "similar": _similar,
}


def _compiled(pattern: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"regex: {pattern!r} is no pattern of RE2: {reason}") from None


def _check_shape(shape: dict[str, Any]) -> None:
    """A JSON Schema of draft 2020-12 that looks at nothing elsewhere and whose time is bounded."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError

    unsafe = {"$ref": str, "$dynamicRef": str, "pattern": str, "patternProperties": dict}
    found: list[Any] = [shape]
    while found:
        part = found.pop()
        if isinstance(part, dict):
            named = sorted(key for key, kind in unsafe.items() if isinstance(part.get(key), kind))
            if named:
                raise ValueError(f"json: {', '.join(named)} cannot be used here; say it with regex beside it")
        found += part.values() if isinstance(part, dict) else part if isinstance(part, list) else []
    try:
        Draft202012Validator.check_schema(shape)
    except SchemaError as error:
        raise ValueError(f"json: no JSON Schema at {error.json_path}: {error.message[:200]}") from None
