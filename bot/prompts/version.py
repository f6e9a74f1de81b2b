"""A version of a prompt, which is LangChain's chat template for it.

Apart from the library, which lists versions without making them: LangChain takes its time to import.
"""

from __future__ import annotations

from typing import Any, NoReturn

from langchain_core.messages import BaseMessage
from langchain_core.prompts import ChatPromptTemplate
from pydantic import ConfigDict

from bot.errors import PromptError
from bot.prompts.render import check_characters, check_growth, defaults, texts_of
from bot.prompts.schema import Prompt
from bot.prompts.template import templates, without_blanks


class PromptVersion(ChatPromptTemplate):
    """A real ChatPromptTemplate with all its examples, without knowledge. It wants `message`, takes `history` and the values
    of the variables that the prompt declares: one with a default need not be given. Its messages are those that `render`
    makes of the same; only, as LangChain has it, a missing value is a KeyError, and a name that the prompt does not know
    is passed over. Raises PromptError for more characters than an engine is sent, before anything is made of values that
    would grow to that. A version never changes: what is added to it by `+` is a template without name and number."""

    model_config = ConfigDict(frozen=True)
    name: str
    version: int
    prompt: Prompt

    def __init__(self, name: str, version: int, prompt: Prompt, **made: Any) -> None:
        if not made:
            made = {"messages": templates(texts_of(prompt, prompt.examples, None)), "partial_variables": defaults(prompt)}
        super().__init__(name=name, version=version, prompt=prompt, **made)

    @property
    def ref(self) -> str:
        return f"{self.name}@{self.version}"

    def format_messages(self, **given: Any) -> list[BaseMessage]:
        wanted = {"message", *self.prompt.variables}
        values = self._merge_partial_and_user_variables(**given)
        filled_in = {name: str(value) for name, value in values.items() if name in wanted}
        texts = texts_of(self.prompt, self.prompt.examples, None)
        check_growth(texts, filled_in)
        made = super().format_messages(**values | filled_in)
        check_characters(sum(len(str(message.content)) for message in made))
        return without_blanks(made) if texts[0] else made

    async def aformat_messages(self, **given: Any) -> list[BaseMessage]:
        return self.format_messages(**given)

    def append(self, message: Any) -> NoReturn:
        raise _unchanging(self.ref)

    def extend(self, messages: Any) -> NoReturn:
        raise _unchanging(self.ref)

    @classmethod
    def from_messages(cls, messages: Any, template_format: Any = "f-string") -> NoReturn:
        raise PromptError("A version is made of a prompt, not of messages.", "Use ChatPromptTemplate.from_messages.")


def _unchanging(ref: str) -> PromptError:
    return PromptError(f"{ref} is a version, which never changes.", "Add with +, which gives another template.")
