"""A prompt's texts as LangChain's templates. Imported late: LangChain takes its time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.example_selectors import BaseExampleSelector
from langchain_core.messages import BaseMessage, SystemMessage
from langchain_core.prompts import ChatPromptTemplate, FewShotChatMessagePromptTemplate, MessagesPlaceholder

from bot.prompts.schema import filled, variables_of


@dataclass
class Shown(BaseExampleSelector):
    """All examples, as the few-shot template asks for them: with the values that the whole template was given."""

    pairs: list[tuple[str, str]]

    def add_example(self, example: dict[str, str]) -> None:
        self.pairs.append((example["customer"], example["agent"]))

    def select_examples(self, input_variables: dict[str, Any]) -> list[dict[str, str]]:
        values = {name: str(value) for name, value in input_variables.items() if name != "history"}
        return [{"customer": filled(customer, values), "agent": filled(agent, values)} for customer, agent in self.pairs]


def templates(texts: Sequence[str]) -> list[Any]:
    """What a ChatPromptTemplate is made of, from what `bot.prompts.render.texts_of` gives. It wants `message` and the
    variables' values, and takes `history`, which are messages."""
    system, *examples, last = texts
    made: list[Any] = [("system", system)] if system else []
    if examples:
        made.append(
            FewShotChatMessagePromptTemplate(
                example_selector=Shown(list(zip(examples[::2], examples[1::2], strict=True))),
                example_prompt=ChatPromptTemplate([("human", "{customer}"), ("ai", "{agent}")]),
                input_variables=sorted({name for text in examples for name in variables_of(text)}),
            )
        )
    return [*made, MessagesPlaceholder("history", optional=True), ("human", last)]


def without_blanks(made: Sequence[BaseMessage]) -> list[BaseMessage]:
    """What was made of texts with a system message: that one without the blanks around it, and left out where its variables
    were empty."""
    system, *others = made
    content = str(system.content).strip()
    return [*([SystemMessage(content)] if content else []), *others]
