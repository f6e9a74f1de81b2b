"""One more few-shot example in a prompt, whose texts are shown as they are: a brace in them is a brace."""

from __future__ import annotations

import datetime

from bot.prompts.schema import Prompt, check_prompt, literal


def with_example(prompt: Prompt, customer: str, agent: str, source: str, author: str, note: str) -> Prompt:
    """`prompt` with the example behind those it has; a zero-shot one is few-shot then. Raises PromptError naming every
    fault."""
    example = {"customer": literal(customer), "agent": literal(agent), "source": source}
    data = prompt.model_dump(exclude_none=True)
    return check_prompt(
        {
            **data,
            "technique": "few-shot" if prompt.technique == "zero-shot" else prompt.technique,
            "examples": [*data["examples"], example],
            "author": author,
            "note": note,
            "date": datetime.date.today(),
        }
    )
