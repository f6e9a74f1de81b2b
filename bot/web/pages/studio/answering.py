"""How a prompt answers, as the form's boxes hold it: technique, which examples are shown, decoding, and variables.

What was typed stays as it was, also where it is no number yet; `settings` makes of it what a prompt holds, or tells in words
what is wrong. Labels, help and rules are in `answering.yaml`. Knows nothing of components.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from bot.errors import PromptError
from bot.files import read_yaml
from bot.limits import MAX_STOPS
from bot.prompts.schema import Decoding, Prompt, Select, Variable
from bot.types import Sampling

VARIABLES = 10
"""Variables that the form has boxes for; it keeps the rest as they are."""
STRAIGHT, ALL = "straight", "all"
SELECT = {"count": int, "tokens": int}
DECODING = {"temperature": float, "top_p": float, "max_tokens": int, "no_repeat_ngram_size": int}
FIGURES: dict[str, type[int] | type[float]] = {**SELECT, **DECODING}
Box = str | bool | tuple[Any, ...] | None
"""What a box of the form holds; a tuple is what there were no boxes for."""
_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]*(e[+-]?[0-9]+)?", re.ASCII | re.IGNORECASE)
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r"}
_ESCAPED = {escape: plain for plain, escape in _ESCAPES.items()}


@cache
def words() -> dict[str, Any]:
    """Labels, help and rules."""
    return read_yaml(Path(__file__).with_name("answering.yaml"))


def label(key: str) -> str:
    """What a box is called, wherever people read of it."""
    told: str = (words()["figures"].get(key) or words()[key])["label"]
    return told


@dataclass(frozen=True, slots=True)
class Row:
    """A variable, as its boxes hold it; `number` is theirs in the form, where it was read from it."""

    name: str
    description: str = ""
    default: str = ""
    required: bool = False
    number: int = field(default=0, compare=False)

    @classmethod
    def of(cls, name: str, variable: Variable) -> Row:
        return cls(name, variable.description, variable.default or "", variable.required or variable.default is None)

    @property
    def is_empty(self) -> bool:
        return not (self.name or self.description.strip() or self.default)

    def told(self) -> str:
        """What it stands for, and what is filled in."""
        if self.required:
            return f"{self.description}; required" + (f", such as “{self.default}”" if self.default else "")
        return f"{self.description}; {f'“{self.default}”' if self.default else 'nothing'} unless another is given"

    def variable(self) -> dict[str, Any]:
        default = None if self.required and not self.default else self.default
        return {"description": self.description, "default": default, "required": self.required}


@dataclass(frozen=True, slots=True)
class Answering:
    """`technique` is STRAIGHT for zero-shot and few-shot, which the examples tell apart; `shown` is ALL or a `Select`'s
    `by`. A figure that is empty is not set. `stop` has one text a line."""

    technique: str = ""
    shown: str = ""
    count: str = ""
    tokens: str = ""
    temperature: str = ""
    top_p: str = ""
    max_tokens: str = ""
    no_repeat_ngram_size: str = ""
    stop: str = ""
    variables: tuple[Row, ...] = field(default=())

    @classmethod
    def of(cls, prompt: Prompt) -> Answering:
        select, figures = prompt.select, {}
        for key in FIGURES:
            value = getattr(select if key in SELECT else prompt.decoding, key, None)
            figures[key] = "" if value is None else str(value)
        return cls(
            technique=STRAIGHT if prompt.technique in ("zero-shot", "few-shot") else prompt.technique,
            shown=select.by if select else ALL,
            **figures,
            stop="\n".join(_escaped(text) for text in prompt.decoding.stop or () if text),
            variables=tuple(Row.of(name, variable) for name, variable in prompt.variables.items()),
        )

    @classmethod
    def read(cls, values: Sequence[Box]) -> Answering:
        """From the form's boxes: a text for each of TEXTS, then the variables' names, what they stand for, their values, and
        whether they are required, then the variables that had no boxes."""
        texts = dict(zip(TEXTS, (str(value or "") for value in values), strict=False))
        figures = {key: _canonical(texts[key], kind) for key, kind in FIGURES.items()}
        if texts["shown"] == ALL:
            figures |= dict.fromkeys(SELECT, "")
        stop = "\n".join(_escaped(_unescaped(line)) for line in texts["stop"].split("\n") if line)
        columns = [values[start : start + VARIABLES] for start in range(len(TEXTS), BOXES - 1, VARIABLES)]
        rows = [
            Row(str(name or "").strip().strip("{}"), str(description or ""), str(default or ""), bool(required), number)
            for number, (name, description, default, required) in enumerate(zip(*columns, strict=True), 1)
        ]
        shown = tuple(row for row in rows if not row.is_empty)
        return cls(**{**texts, **figures, "stop": stop}, variables=shown + without_boxes(values[-1]))

    def values(self) -> list[Box]:
        """For the form's boxes, in the order of `read`."""
        rows = [*self.variables[:VARIABLES], *[Row("")] * (VARIABLES - len(self.variables))]
        return [
            *(getattr(self, key) for key in TEXTS), *(row.name for row in rows), *(row.description for row in rows),
            *(row.default for row in rows), *(row.required for row in rows), self.variables[VARIABLES:],
        ]  # fmt: skip

    def named(self) -> dict[str, str]:
        """Everything but the technique by its label, for a comparison that people read."""
        rows = {f"Variable {row.name or number}": row.told() for number, row in enumerate(self.variables, 1)}
        figures = {key: getattr(self, key) or f"not set: {getattr(Sampling(), key)}" for key in DECODING}
        return {
            **rows,
            label("shown"): self.examples_in_words(),
            **{label(key): figures[key] for key in DECODING},
            label("stop"): self.stop,
        }

    def chosen(self) -> dict[str, str]:
        """What of `named` is not as it would be anyway, without the variables."""
        keys = [*["shown"] * (self.shown != ALL), *(key for key in (*DECODING, "stop") if getattr(self, key))]
        return {label(key): self.named()[label(key)] for key in keys}

    def examples_in_words(self) -> str:
        most = [f"at most {self.count}"] * bool(self.count) + [f"at most {self.tokens} tokens"] * bool(self.tokens)
        return ", ".join([words()["shown"]["choices"].get(self.shown, self.shown), *most]).lower()


TEXTS = tuple(field.name for field in dataclasses.fields(Answering) if field.name != "variables")
BOXES = len(TEXTS) + 4 * VARIABLES + 1


def without_boxes(value: Box) -> tuple[Any, ...]:
    """What the form keeps besides its boxes; a page that was not filled yet has an empty text there."""
    return value if isinstance(value, tuple) else ()


def technique_of(answering: Answering, has_examples: bool) -> str:
    """An example makes a zero-shot prompt a few-shot one, and the last one taken away the reverse."""
    if answering.technique == STRAIGHT:
        return "few-shot" if has_examples else "zero-shot"
    return answering.technique


def settings(answering: Answering, parent: Prompt, has_examples: bool) -> dict[str, Any]:
    """The technique, select, variables and decoding of a prompt. What was not touched is `parent`'s to the letter. Raises
    PromptError that names every fault."""
    before, found = Answering.of(parent), list(_row_faults(answering.variables))
    # A page that is being filled has its texts before its choices.
    chosen = {key: getattr(answering, key) or getattr(before, key) for key in ("technique", "shown")}
    answering = dataclasses.replace(answering, **chosen)
    figures, wrong = _figures(answering)
    found += wrong
    select = None
    if answering.shown != ALL:
        found += _select_faults(answering, has_examples)
        select = {"by": answering.shown, **{key: figures[key] for key in SELECT}}
    stop = parent.decoding.stop
    if answering.stop != before.stop:
        stop = [_unescaped(line) for line in answering.stop.split("\n") if line] or None
        if len(stop or ()) > MAX_STOPS:
            found.append(f"{label('stop')}: there are {len(stop or ())}; {MAX_STOPS} are the most")
    if found:
        raise PromptError(f"{'; '.join(found)}.", "Correct it in the form.")
    kept = dict(zip(before.variables, parent.variables.values(), strict=True))
    rows = answering.variables
    return {
        "technique": technique_of(answering, has_examples),
        "select": select,
        "variables": {row.name: kept[row].model_dump() if row in kept else row.variable() for row in rows},
        "decoding": {**{key: figures[key] for key in DECODING}, "stop": stop},
    }


def _figures(answering: Answering) -> tuple[dict[str, Any], list[str]]:
    """The figures by their key, None for what is not set, and what is wrong with them."""
    figures: dict[str, Any] = dict.fromkeys(FIGURES)
    found = []
    for key in FIGURES:
        if not (typed := getattr(answering, key)):
            continue
        model: type[BaseModel] = Select if key in SELECT else Decoding
        try:
            figures[key] = _number(typed, FIGURES[key])
            model.model_validate({key: figures[key]})
        except ValueError:
            found.append(f"{label(key)} is “{typed}”; it is {words()['figures'][key]['rule']}, or empty")
    return figures, found


def _select_faults(answering: Answering, has_examples: bool) -> Iterator[str]:
    name, every = label("shown"), words()["shown"]["choices"][ALL]
    if not has_examples:
        yield f"{name}: there is no example to choose from; write one, or choose “{every}”"
    elif not answering.count and not answering.tokens:
        yield f"{name}: say how many at most, or how many tokens, or choose “{every}”"


def _row_faults(rows: Sequence[Row]) -> Iterator[str]:
    seen: set[str] = set()
    for place, row in enumerate(rows, 1):
        if not row.name:
            yield f"Variable {row.number or place} has no name"
        elif not row.description.strip():
            yield f"Variable {row.name}: what it stands for is not said"
        if row.name and row.name in seen:
            yield f"Two variables are called {row.name}"
        seen.add(row.name)


GROUPS = (("technique",), ("shown", *SELECT), *((key,) for key in DECODING), ("stop",))
"""What is taken from another's version together."""


def merged(mine: Answering, base: Answering, theirs: Answering) -> Answering:
    """`mine`, and `theirs` for what I left as `base` had it. A variable counts as a whole, by its name."""
    taken = {
        key: getattr(theirs, key)
        for group in GROUPS
        if all(getattr(mine, key) == getattr(base, key) for key in group)
        for key in group
    }
    return dataclasses.replace(mine, **taken, variables=_merged_rows(mine.variables, base.variables, theirs.variables))


def _merged_rows(mine: Sequence[Row], base: Sequence[Row], theirs: Sequence[Row]) -> tuple[Row, ...]:
    """In the order of `mine`, whose boxes thus have room for every row that I touched."""
    if mine == base:
        return tuple(theirs)
    touched = {row.name for row in (*mine, *base) if _called(mine, row.name) != _called(base, row.name)}
    rows: list[Row] = []
    for row in mine:
        rows += [row] if row.name in touched else _called(theirs, row.name)
    known = {row.name for row in base} | touched
    return (*rows, *(row for row in theirs if row.name not in known))


def _called(rows: Sequence[Row], name: str) -> list[Row]:
    """One, none where it was taken out, or several where a name was given twice."""
    return [row for row in rows if row.name == name]


def _canonical(text: str, kind: type[int] | type[float]) -> str:
    """A number as a saved version shows it; anything else as it was typed."""
    try:
        return str(_number(text.strip(), kind))
    except ValueError:
        return text.strip()


def _number(text: str, kind: type[int] | type[float]) -> int | float:
    """Python would read 1_000, nan, and other scripts' digits too. Raises ValueError."""
    if not _NUMBER.fullmatch(text):
        raise ValueError("not a plain number")
    return kind(text)


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(letter, letter) for letter in text)


def _unescaped(text: str) -> str:
    return re.sub(r"\\[\\nr]", lambda match: _ESCAPED[match[0]], text)
