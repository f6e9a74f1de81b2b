"""Prompt + examples + variables + passages + history → messages. Pure, and the same for training and serving.

Texts go through langchain-core's chat and few-shot templates after our own strict validation; values are inserted
once and never expanded again. Knows nothing of versions, files or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bot.errors import PromptError
from bot.limits import MAX_RENDERED
from bot.prompts.schema import Example, Prompt, filled, grown
from bot.types import ROLE_OF, Message, Passage

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage
    from langchain_core.prompts import ChatPromptTemplate


def show_passages(passages: Sequence[Passage]) -> str:
    """Numbered passages, best first, one a line: the layout the starter base was trained on."""
    return "\n".join(f"[{n}] {p.title}: {' '.join(p.text.split())}" for n, p in enumerate(passages, 1))


def fill_variables(prompt: Prompt, given: Mapping[str, str]) -> dict[str, str]:
    """Every declared variable's value. Raises PromptError naming all missing and all unknown ones at once."""
    unknown = sorted(set(given) - set(prompt.variables))
    missing = sorted(n for n, v in prompt.variables.items() if n not in given and (v.required or v.default is None))
    if unknown or missing:
        faults = [f"missing: {', '.join(missing)}"] * bool(missing) + [f"unknown: {', '.join(unknown)}"] * bool(unknown)
        raise PromptError(
            f"The prompt's variables do not fit ({'; '.join(faults)}).",
            f"It takes: {', '.join(prompt.variables) or 'none'}.",
        )
    return {name: str(given.get(name, variable.default)) for name, variable in prompt.variables.items()}


def chat_template(
    prompt: Prompt, examples: Sequence[Example], variables: Mapping[str, str], passages: Sequence[Passage] | None
) -> ChatPromptTemplate:
    """A real ChatPromptTemplate that still wants `history` (messages) and `message` (the customer's text)."""
    from langchain_core.prompts import (
        ChatPromptTemplate,
        FewShotChatMessagePromptTemplate,
        MessagesPlaceholder,
    )

    values = fill_variables(prompt, variables)
    _check_growth(prompt, examples, values, passages, "")

    def fill(text: str, **extra: str) -> str:
        return filled(text, {**values, **extra})

    parts = [fill(prompt.role).strip()]
    if prompt.knowledge and passages is not None:
        knowledge = prompt.knowledge
        shown = fill(knowledge.found, passages=show_passages(passages)) if passages else fill(knowledge.nothing)
        parts.append(shown.strip())
    system = "\n\n".join(part for part in parts if part)
    template = ChatPromptTemplate.from_messages([("system", "{system}")] if system else [])
    if examples:
        template += FewShotChatMessagePromptTemplate(
            examples=[{"customer": fill(e.customer), "agent": fill(e.agent)} for e in examples],
            example_prompt=ChatPromptTemplate.from_messages([("human", "{customer}"), ("ai", "{agent}")]),
            input_variables=[],
        )
    template += MessagesPlaceholder("history", optional=True)
    template += ChatPromptTemplate.from_messages([("human", prompt.template)])
    return template.partial(**values, **({"system": system} if system else {}))


def render(
    prompt: Prompt | None,
    examples: Sequence[Example],
    variables: Mapping[str, str],
    passages: Sequence[Passage] | None,
    history: Sequence[Message],
) -> tuple[Message, ...]:
    """Messages as the engine gets them.

    `passages` None means that knowledge is off, an empty sequence that nothing relevant was found. `history` ends with
    the customer's message. Without a prompt the history goes as it is, led by the bare passages if there are any.
    """
    if prompt is None:
        led = (Message("system", show_passages(passages)),) if passages else ()
        return (*led, *history)
    _check_growth(prompt, examples, fill_variables(prompt, variables), passages, history[-1].content)
    template = chat_template(prompt, examples, variables, passages)
    earlier = [(message.role, message.content) for message in history[:-1]]
    messages = template.format_messages(history=earlier, message=history[-1].content)
    return tuple(_to_message(message) for message in messages)


def _check_growth(
    prompt: Prompt,
    examples: Sequence[Example],
    values: Mapping[str, str],
    passages: Sequence[Passage] | None,
    message: str,
) -> None:
    """Raises PromptError before anything is allocated that no engine would be sent: a text may repeat a variable."""
    knowledge = prompt.knowledge if passages is not None else None
    texts = [prompt.role, *(side for example in examples for side in (example.customer, example.agent))]
    texts += [knowledge.found if passages else knowledge.nothing] if knowledge else []
    given = {**values, "passages": show_passages(passages or ())}
    size = sum(grown(text, given) for text in texts) + grown(prompt.template, {**values, "message": message})
    if size > MAX_RENDERED:
        raise PromptError(
            f"The rendered prompt would have {size:,} characters; at most {MAX_RENDERED:,} are sent.", "Shorten it."
        )


def _to_message(message: BaseMessage) -> Message:
    return Message(ROLE_OF[message.type], str(message.content))


def size_of(messages: Sequence[Message]) -> int:
    """Characters in all."""
    return sum(len(message.content) for message in messages)


def check_size(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """`messages`, or PromptError when they are more than an engine is sent."""
    if size_of(messages) > MAX_RENDERED:
        raise PromptError(
            f"The rendered prompt has {size_of(messages):,} characters; at most {MAX_RENDERED:,} are sent.", "Shorten it."
        )
    return messages
