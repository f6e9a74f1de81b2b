"""Prompt + examples + variables + passages + history → messages. Pure, and the same for training and serving.

Texts go through langchain-core's chat and few-shot templates after our own strict validation; values are inserted
once and never expanded again. Knows nothing of versions, files or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bot.errors import PromptError
from bot.limits import MAX_RENDERED
from bot.prompts.schema import Example, Prompt, grown
from bot.types import ROLE_OF, Message, Passage

if TYPE_CHECKING:
    from langchain_core.messages import BaseMessage


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


def defaults(prompt: Prompt) -> dict[str, str]:
    """The values of the variables that need not be given."""
    known = prompt.variables.items()
    return {name: variable.default for name, variable in known if variable.default is not None and not variable.required}


def stand_ins(prompt: Prompt) -> dict[str, str]:
    """Every variable's value where nobody gives one, to be looked at: one that must be given shows its name."""
    return {name: f"‹{name}›" for name in prompt.variables} | defaults(prompt)


def texts_of(prompt: Prompt, examples: Sequence[Example], passages: Sequence[Passage] | None) -> list[str]:
    """The template texts of what is sent: the system message's, "" where there is none; each example's two; the last
    message's."""
    parts = [prompt.role]
    if prompt.knowledge and passages is not None:
        parts.append(prompt.knowledge.found if passages else prompt.knowledge.nothing)
    system = "\n\n".join(part.strip() for part in parts if part.strip())
    return [system, *(side for example in examples for side in (example.customer, example.agent)), prompt.template]


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
    from langchain_core.prompts import ChatPromptTemplate

    from bot.prompts.template import templates, without_blanks

    texts = texts_of(prompt, examples, passages)
    values = {**fill_variables(prompt, variables), "passages": show_passages(passages or ()), "message": history[-1].content}
    check_growth(texts, values)
    earlier = [(message.role, message.content) for message in history[:-1]]
    made = ChatPromptTemplate(templates(texts)).format_messages(history=earlier, **values)
    return tuple(_to_message(message) for message in (without_blanks(made) if texts[0] else made))


def check_growth(texts: Sequence[str], values: Mapping[str, str]) -> None:
    """Raises PromptError before anything is allocated that no engine would be sent: a text may repeat a variable."""
    check_characters(sum(grown(text, values) for text in texts))


def check_characters(size: int) -> None:
    """Raises PromptError for more characters in all than an engine is sent."""
    if size > MAX_RENDERED:
        raise PromptError(f"The rendered prompt has {size:,} characters; at most {MAX_RENDERED:,} are sent.", "Shorten it.")


def _to_message(message: BaseMessage) -> Message:
    return Message(ROLE_OF[message.type], str(message.content))


def size_of(messages: Sequence[Message]) -> int:
    """Characters in all."""
    return sum(len(message.content) for message in messages)


def check_size(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """`messages`, or PromptError when they are more than an engine is sent."""
    check_characters(size_of(messages))
    return messages
