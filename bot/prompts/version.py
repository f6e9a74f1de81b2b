"""A version of a prompt, which is LangChain's chat template for it.

Apart from the library, which lists versions without making them: LangChain takes its time to import.
"""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.prompts import ChatPromptTemplate

from bot.prompts.render import check_growth, defaults, texts_of
from bot.prompts.schema import Prompt
from bot.prompts.template import templates


class PromptVersion(ChatPromptTemplate):
    """A real ChatPromptTemplate with all its examples, without knowledge. It wants `message`, takes `history` and the values
    of the variables that the prompt declares: one with a default need not be given. Raises PromptError, before anything is
    made, for values that would grow past what an engine is sent."""

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
        values = {name: str(value) for name, value in {**self.partial_variables, **given}.items() if name in wanted}
        check_growth(texts_of(self.prompt, self.prompt.examples, None), values)
        return super().format_messages(**given)

    async def aformat_messages(self, **given: Any) -> list[BaseMessage]:
        return self.format_messages(**given)
