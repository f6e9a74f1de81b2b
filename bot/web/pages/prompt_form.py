"""The prompt editor's form as plain data: a prompt to fields and back, what changed, and the messages as sent.

Pure; knows nothing of components or versions on disk.
"""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Sequence
from dataclasses import dataclass

from bot.errors import PromptError
from bot.prompts.render import render
from bot.prompts.schema import Example, Prompt, check_prompt
from bot.types import Message, Passage
from bot.web.pages.html import chips, differences, escape, inline_difference
from bot.web.pages.inspector import messages_html

EXAMPLES = 8
"""Examples that the form shows; a version with more keeps the rest as they are."""
SOURCE = "written on the page"


@dataclass(frozen=True, slots=True)
class Fields:
    """What a lead edits. `examples` are pairs of customer and agent."""

    role: str
    found: str
    nothing: str
    template: str
    examples: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, prompt: Prompt) -> Fields:
        found, nothing = (prompt.knowledge.found, prompt.knowledge.nothing) if prompt.knowledge else ("", "")
        pairs = tuple((e.customer, e.agent) for e in prompt.examples)
        return cls(prompt.role, found, nothing, prompt.template, pairs)

    @classmethod
    def read(cls, values: Sequence[str | None]) -> Fields:
        """From the form's boxes: four texts, then the customers' sides, then the agents'."""
        texts = [(value or "").replace("\r\n", "\n") for value in values]
        customers, agents = texts[4 : 4 + EXAMPLES], texts[4 + EXAMPLES : 4 + 2 * EXAMPLES]
        pairs = tuple((c, a) for c, a in zip(customers, agents, strict=True) if c.strip() or a.strip())
        role, found, nothing, template = texts[:4]
        return cls(role, found, nothing, template, pairs)

    def values(self) -> list[str]:
        """For the form's boxes, in the order of `read`."""
        pairs = [*self.examples[:EXAMPLES], *[("", "")] * (EXAMPLES - len(self.examples))]
        return [self.role, self.found, self.nothing, self.template, *[c for c, _ in pairs], *[a for _, a in pairs]]

    def named(self) -> dict[str, str]:
        """Every text by its place, for a comparison that people read."""
        places = {
            "Role": self.role, "Knowledge found": self.found, "Nothing found": self.nothing, "Template": self.template
        }  # fmt: skip
        for number, (customer, agent) in enumerate(self.examples, 1):
            places[f"Example {number}, customer"], places[f"Example {number}, agent"] = customer, agent
        return places


def edited(parent: Prompt, fields: Fields, author: str, note: str) -> Prompt:
    """`parent` with the form's texts. Raises PromptError naming every fault and its place."""
    rest = [example.model_dump() for example in parent.examples[EXAMPLES:]]
    known = {(e.customer, e.agent): e.source for e in parent.examples}
    pairs = [{"customer": c, "agent": a, "source": known.get((c, a), SOURCE)} for c, a in fields.examples]
    technique = parent.technique
    if technique in ("zero-shot", "few-shot"):
        technique = "few-shot" if pairs or rest else "zero-shot"
    knowledge = {"found": fields.found, "nothing": fields.nothing} if fields.found or fields.nothing else None
    return check_prompt(
        {
            **parent.model_dump(exclude_none=True),
            "technique": technique,
            "role": fields.role,
            "knowledge": knowledge,
            "template": fields.template,
            "examples": pairs + rest,
            "author": author.strip(),
            "note": note.strip(),
            "date": datetime.date.today(),
        }
    )


def check_remarks(author: str, note: str) -> None:
    if not note.strip():
        raise PromptError("The note is empty.", "Say in a sentence what this version changes and why.")
    if not author.strip():
        raise PromptError("The author is empty.", "Write your name or your team's.")


def changes_html(before: Prompt, after: Fields, version: int) -> str:
    """What the form changes in the version it was made from: struck out what went, underlined what came."""
    old, new = shown_fields(before).named(), after.named()
    rows = [
        f"<h4>{escape(place)}</h4><p class='diff'>{inline_difference(old.get(place, ''), new.get(place, ''))}</p>"
        for place in dict.fromkeys([*old, *new])
        if old.get(place, "") != new.get(place, "")
    ]
    return "".join(rows) or f'<div class="empty">No change from version {version} yet.</div>'


def both_html(theirs: Prompt, version: int, mine: Fields) -> str:
    """Another's version beside the form's texts."""
    old, new = shown_fields(theirs).named(), mine.named()
    rows = ""
    for place in dict.fromkeys([*old, *new]):
        left, right = differences(old.get(place, ""), new.get(place, ""))
        if old.get(place, "") != new.get(place, ""):
            rows += f"<tr><th scope='row'>{escape(place)}</th><td>{left}</td><td>{right}</td></tr>"
    head = f"<tr><td></td><th scope='col'>Version {version}</th><th scope='col'>Yours</th></tr>"
    return f'<table class="both-texts"><thead>{head}</thead><tbody>{rows}</tbody></table>' if rows else ""


def shown_fields(prompt: Prompt) -> Fields:
    """The texts that the form can show, so that examples past its rows count as unchanged."""
    fields = Fields.of(prompt)
    return dataclasses.replace(fields, examples=fields.examples[:EXAMPLES])


def variables_html(prompt: Prompt) -> str:
    """The variables that texts may hold, with what they stand for."""
    own = [
        f'<span class="chip" title="{escape(variable.description)}"><code>{{{escape(name)}}}</code>'
        f"{escape(variable.default or 'required')}</span>"
        for name, variable in prompt.variables.items()
    ]
    return f'<div class="variables"><span>Variables</span>{"".join(own)}{chips(["{message}", "{passages}"])}</div>'


def preview(
    prompt: Prompt, examples: Sequence[Example], question: str, passages: Sequence[Passage] | None
) -> tuple[Message, ...]:
    """The messages as an engine would get them; a required variable shows its name."""
    given = {name: f"‹{name}›" for name, v in prompt.variables.items() if v.required or v.default is None}
    return render(prompt, examples, given, passages, (Message("user", question),))


def preview_html(messages: Sequence[Message], tokens: int) -> str:
    count = f"{tokens:,} tokens" if tokens else "not counted by this engine"
    body = messages_html([dataclasses.asdict(message) for message in messages])
    return f'<p class="count-line">{len(messages)} messages, {count}</p>{body}'
