"""A prompt as strict data: its keys, its rules, and reading it from YAML and back.

A prompt's texts may hold variables as plain `{name}`; braces meant as braces are doubled. There are no attributes,
indexes, conversions or format widths, so a template can neither reach into objects nor allocate without bound.
Knows nothing of files or versions.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bot.errors import DataError, PromptError
from bot.files import line_and_column, parse_yaml, place_in
from bot.limits import MAX_RENDERED, MAX_STOPS, MAX_TOKENS
from bot.types import content_hash

MAX_TEXT = 20_000
MAX_FILE = 200_000
MAX_CONTEXT = 1_000_000
"""Tokens that a budget may name."""
MAX_VALUES = 1_500
"""Keys and values in one file, together."""
MAX_FAULTS = 20
"""Faults that are told at once."""
RESERVED = ("message", "passages", "history", "stop", "self")
"""Names that no variable can have: what is shown beside them, and what LangChain keeps for itself."""
PLACES = {"message": "template", "passages": "knowledge.found"}
"""The one text that may hold each."""
LATER_KEYS = ("select",)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_EXAMPLE = re.compile(r"^examples\[(\d+)\]")
"""An example that a fault begins with."""
_BRACE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")

Keys = tuple[str | int, ...]
Technique = Literal["zero-shot", "few-shot", "chain-of-thought", "classify"]


class Faulty(ValueError):
    """What is wrong with a prompt as a whole: for each fault the keys it is about, none where it says its place itself."""

    def __init__(self, found: Sequence[tuple[tuple[str, ...], str]]) -> None:
        super().__init__("; ".join(f"{'.'.join(keys)}: {rule}" if keys else rule for keys, rule in found))
        self.found = found


class Part(BaseModel):
    """Of a prompt or of its cases: unknown keys are refused, and nothing changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Example(Part):
    """A few-shot exchange. `source` says where it came from."""

    customer: str = Field(min_length=1, max_length=MAX_TEXT)
    agent: str = Field(min_length=1, max_length=MAX_TEXT)
    source: str = Field(min_length=1, max_length=500)


class Variable(Part):
    description: str = Field(min_length=1, max_length=500)
    default: str | None = Field(None, max_length=MAX_TEXT)
    required: bool = False


class Knowledge(Part):
    """What the model reads where knowledge is on: `found` shows `{passages}`, `nothing` says that there are none."""

    found: str = Field(max_length=MAX_TEXT)
    nothing: str = Field(max_length=MAX_TEXT)


class Select(Part):
    """Which examples are shown: those nearest to the customer's message or, in the order written, the first; at most `count`
    of them, and at most what `tokens` tokens hold. Without a `Select` all are, in their order."""

    by: Literal["order", "similarity"] = "order"
    count: int | None = Field(None, ge=1, le=100)
    tokens: int | None = Field(None, ge=1, le=MAX_CONTEXT)

    @model_validator(mode="after")
    def _leaves_something_out(self) -> Select:
        if self.count is None and self.tokens is None:
            raise ValueError("say how many with count, or how long with tokens")
        return self


class Decoding(Part):
    """Decoding defaults; what is left out is the engine's default."""

    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    max_tokens: int | None = Field(None, ge=1, le=MAX_TOKENS)
    stop: list[str] | None = Field(None, max_length=MAX_STOPS)
    no_repeat_ngram_size: int | None = Field(None, ge=0, le=20)


class Prompt(Part):
    """One version of a prompt."""

    technique: Technique
    role: str = Field("", max_length=MAX_TEXT)
    knowledge: Knowledge | None = None
    template: str = Field("{message}", max_length=MAX_TEXT)
    examples: list[Example] = Field(default_factory=list, max_length=100)
    select: Select | None = None
    variables: dict[str, Variable] = Field(default_factory=dict)
    decoding: Decoding = Decoding()
    author: str = Field(min_length=1, max_length=200)
    note: str = Field(min_length=1, max_length=2000)
    date: datetime.date

    @property
    def hash(self) -> str:
        """Over what reaches the model: author, note and date are not part of it. A key that came later counts once it is
        set, so that what was pinned before stays what it is."""
        later = {key for key in LATER_KEYS if getattr(self, key) is None}
        return content_hash(self.model_dump_json(exclude={"author", "note", "date", *later}))

    @model_validator(mode="after")
    def _texts_are_templates(self) -> Prompt:
        for name in self.variables:
            if not _IDENTIFIER.fullmatch(name) or name in RESERVED:
                rule = f"{name[:100]!r} cannot be a variable's name (letters, digits and _; not a reserved one)"
                raise Faulty([(("variables", name), rule)])
        faulty = (fault for place, text, reserved in self.texts() for fault in self._faults(place, text, reserved))
        found: list[tuple[tuple[str, ...], str]] = [((), fault) for fault in islice(faulty, MAX_FAULTS)]
        if "message" not in variables_of(self.template):
            found.append(((), f"{place_of('template')}: {{message}} is missing, so the customer would not be heard"))
        if self.knowledge and "passages" not in variables_of(self.knowledge.found):
            found.append(((), f"{place_of('knowledge.found')}: {{passages}} is missing, so no passage would be shown"))
        if self.technique == "few-shot" and not self.examples:
            found.append((("technique",), "there are no examples, and a few-shot prompt needs one"))
        if self.select and not self.examples:
            found.append((("select",), "there are no examples to choose from"))
        if not found:
            found += [((), fault) for fault in self._too_large()]
        if found:
            raise Faulty(found)
        return self

    def texts(self) -> Iterator[tuple[str, str, set[str]]]:
        """Every template text with its place, and the names besides its variables that it may hold."""
        yield "role", self.role, set()
        yield "template", self.template, {"message"}
        if self.knowledge:
            yield "knowledge.found", self.knowledge.found, {"passages"}
            yield "knowledge.nothing", self.knowledge.nothing, set()
        for number, example in enumerate(self.examples, 1):
            yield f"examples[{number}].customer", example.customer, set()
            yield f"examples[{number}].agent", example.agent, set()

    def _too_large(self) -> Iterator[str]:
        """Texts that would grow past what an engine is sent when their variables' own defaults are filled in."""
        defaults = {name: variable.default or "" for name, variable in self.variables.items()}
        rule = f"up to here, with its variables filled in, the prompt has more than {MAX_RENDERED:,} characters"
        size = 0
        for place, text, _ in self.texts():
            for match in _BRACE.finditer(text):
                size += len(defaults.get(match[1] or "", ""))
                if size + match.end() > MAX_RENDERED:
                    yield f"{place_of(place, text, match.start())}: {rule}"
                    return
            size += len(text)
            if size > MAX_RENDERED:
                yield f"{place_of(place, text, len(text) - 1)}: {rule}"
                return

    def _faults(self, place: str, text: str, reserved: set[str]) -> Iterator[str]:
        for match in _BRACE.finditer(text):
            if match[0] in ("{{", "}}"):
                continue
            name = match[1]
            if name is not None and _IDENTIFIER.fullmatch(name) and (name in self.variables or name in reserved):
                continue
            where = place_of(place, text, match.start())
            if name is None:
                yield f"{where}: a lone {match[0]!r}; write {match[0] * 2!r} for a brace"
            elif not _IDENTIFIER.fullmatch(name):
                yield f"{where}: {match[0][:40]!r} is not a plain {{name}}"
            elif name in RESERVED:
                right = f"it stands in {PLACES[name]} alone" if name in PLACES else "no variable can have that name"
                yield f"{where}: {match[0]!r} is reserved; {right}"
            else:
                yield f"{where}: {match[0]!r} is not declared under variables"


def place_of(key: str, text: str = "", at: int = 0) -> str:
    """Where in the text under `key` its character `at` stands, in words."""
    line, column = line_and_column(text, at)
    return f"{key}, line {line}, column {column}"


def variables_of(text: str) -> set[str]:
    """Names of the variables in a template text."""
    return {match[1] for match in _BRACE.finditer(text) if match[1] is not None}


def grown(text: str, values: Mapping[str, str]) -> int:
    """Characters of a template text, at most, once `values` are filled in: told before anything is allocated."""
    used = (match[1] for match in _BRACE.finditer(text) if match[1] is not None)
    return len(text) + sum(len(values.get(name, "")) for name in used)


def filled(text: str, values: Mapping[str, str]) -> str:
    """A template text with its variables' values, which are never expanded again, and single braces for doubled ones."""
    return _BRACE.sub(lambda match: match[0][0] if match[1] is None else values[match[1]], text)


def literal(text: str) -> str:
    """A template text that `filled` turns into `text`, whatever braces that holds."""
    return text.replace("{", "{{").replace("}", "}}")


def parse_prompt(text: str, where: str = "The prompt") -> Prompt:
    """The prompt in a YAML text. Raises PromptError that names every fault and its place."""
    if len(text) > MAX_FILE:
        line, column = line_and_column(text, MAX_FILE)
        raise PromptError(
            f"{where} has {len(text):,} characters; at most {MAX_FILE:,} are allowed, which end at line {line}, "
            f"column {column}.",
            "Shorten it.",
        )
    try:
        return Prompt.model_validate(parse_yaml(text, where, MAX_VALUES))
    except DataError as error:
        raise PromptError(error.what, error.hint) from None
    except ValidationError as error:
        raise PromptError(
            f"{where} is not valid: {_placed(error, text)}.", "prompts/README.md explains the format."
        ) from None


def _found(error: ValidationError) -> Iterator[tuple[Keys, str, str]]:
    """What pydantic found. For each fault the keys it is about, none where it says its place itself; the rule; and of a text
    that is too long what may stay."""
    for fault in error.errors()[:MAX_FAULTS]:
        context = fault.get("ctx", {})
        if isinstance(cause := context.get("error"), Faulty):
            yield from ((keys, rule, "") for keys, rule in cause.found)
        elif fault["type"] == "string_too_long":
            text, most = fault["input"], context["max_length"]
            yield fault["loc"], f"it has {len(text):,} characters; at most {most:,} are allowed", text[:most]
        else:
            rule = "it is empty" if fault["type"] == "string_too_short" else fault["msg"].removeprefix("Value error, ")
            yield fault["loc"], rule, ""


def _spelled(keys: Keys) -> str:
    """As people count: the first of a list is 1."""
    return "".join(f"[{key + 1}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def _placed(error: ValidationError, text: str) -> str:
    """Every fault with its line and column in the file."""
    told = []
    for keys, rule, _ in _found(error):
        line, column = place_in(text, keys) if keys else (0, 0)
        told.append(f"{_spelled(keys)} at line {line}, column {column}: {rule}" if keys else rule)
    return "; ".join(told)


def check_prompt(data: dict[str, Any], numbers: Sequence[int] = ()) -> Prompt:
    """The prompt in keys and values, as people typed or pasted them: lines end with \\n, whatever they ended with. Raises
    PromptError that names every fault and its place in its text, an example by its one of `numbers`, where there are any."""
    try:
        return Prompt.model_validate(_with_plain_lines(data))
    except ValidationError as error:
        told = (
            f"{place_of(_spelled(keys), kept, len(kept))}: {rule}" if keys else rule for keys, rule, kept in _found(error)
        )
        if numbers:
            told = (_EXAMPLE.sub(lambda match: f"examples[{numbers[int(match[1]) - 1]}]", fault) for fault in told)
        raise PromptError(f"The prompt is not valid: {'; '.join(told)}.", "prompts/README.md explains the format.") from None


def plain_lines(text: str) -> str:
    """`text` as a file would be read: a line ends with \\n, wherever it was typed."""
    return text.replace("\r\n", "\n")


def _with_plain_lines(value: Any) -> Any:
    if isinstance(value, str):
        return plain_lines(value)
    if isinstance(value, dict):
        return {key: _with_plain_lines(inner) for key, inner in value.items()}
    return [_with_plain_lines(inner) for inner in value] if isinstance(value, list) else value


class _Dumper(yaml.SafeDumper):
    """Block style for texts of several lines, so that a diff reads line by line."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # Line breaks other than \n would be read back as \n, unless they are escaped; blank lines alone have no indentation.
    style = (
        '"'
        if re.search("[\x85\u2028\u2029]", text) or ("\n" in text and not text.strip())
        else "|"
        if "\n" in text
        else None
    )
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def dump_prompt(prompt: Prompt) -> str:
    """The prompt as YAML that `parse_prompt` reads back to an equal one. What says no more than its default is left out."""
    return dump_yaml(prompt.model_dump(exclude_defaults=True))


def as_written(prompt: Prompt, where: str) -> str:
    """The prompt as YAML, for a file. Raises PromptError for what would be refused when it is read: a file has limits of its
    own, and a prompt that was copied with changes was not checked."""
    text = dump_prompt(prompt)
    parse_prompt(text, where)
    return text


def dump_yaml(data: Any) -> str:
    """Plain data as the YAML that people read."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
