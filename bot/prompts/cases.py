"""The cases of a prompt, `prompts/<name>/cases.yaml`: messages with what a reply to them must hold, and the rules that
every reply must obey. They judge any version of that prompt, on any agent; who runs them is elsewhere."""

from __future__ import annotations

import textwrap
from pathlib import Path

from pydantic import Field, ValidationError, model_validator

from bot.errors import DataError, PromptError, faults
from bot.files import parse_yaml, read_text
from bot.limits import MAX_MESSAGE
from bot.prompts.assertions import Assertion
from bot.prompts.schema import Part
from bot.types import Message

FILE = "cases.yaml"


class Earlier(Part):
    """One exchange before the message."""

    customer: str = Field(min_length=1, max_length=MAX_MESSAGE)
    agent: str = Field(min_length=1, max_length=MAX_MESSAGE)


class Case(Part):
    """`variables` are those that differ from the prompt's defaults; `knowledge` is the collection to search, "" none; where
    it is left out, what the cases are run with."""

    name: str = Field("", max_length=100)
    message: str = Field(min_length=1, max_length=MAX_MESSAGE)
    history: list[Earlier] = Field(default_factory=list)
    variables: dict[str, str] = Field(default_factory=dict)
    knowledge: str | None = None
    expect: list[Assertion] = Field(default_factory=list)

    @property
    def title(self) -> str:
        """What it is called where results are listed."""
        return self.name or textwrap.shorten(self.message, 60, placeholder=" …")

    @property
    def messages(self) -> tuple[Message, ...]:
        """The conversation that the reply goes on with, the customer's message last."""
        earlier = [Message(*pair) for said in self.history for pair in (("user", said.customer), ("assistant", said.agent))]
        return (*earlier, Message("user", self.message))


class Cases(Part):
    every_reply: list[Assertion] = Field(default_factory=list)
    cases: list[Case] = Field(default_factory=list, max_length=1000)

    @model_validator(mode="after")
    def _ask_for_something(self) -> Cases:
        titles = [case.title for case in self.cases]
        twice = sorted({title for title in titles if titles.count(title) > 1})
        if twice:
            raise ValueError(f"cases: {', '.join(map(repr, twice))} is there twice; give them a name each")
        if not self.every_reply and (idle := next((case.title for case in self.cases if not case.expect), None)):
            raise ValueError(f"cases: {idle!r} expects nothing")
        return self


def read_cases(folder: Path) -> Cases:
    """Those in a prompt's folder, none where it has no such file. Raises PromptError naming every fault."""
    path = folder / FILE
    if not path.exists():
        return Cases()
    try:
        text = read_text(path)
    except DataError as error:
        raise PromptError(error.what, error.hint) from None
    return parse_cases(text, str(path))


def parse_cases(text: str, where: str) -> Cases:
    """The cases in a YAML text; `where` names it. Raises PromptError naming every fault."""
    try:
        return Cases.model_validate(parse_yaml(text, where))
    except ValidationError as error:
        raise PromptError(f"{where} is not valid: {faults(error)}.", "prompts/README.md explains the format.") from None
    except DataError as error:
        raise PromptError(error.what, error.hint) from None
