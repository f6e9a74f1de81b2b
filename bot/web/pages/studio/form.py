"""The editor's form as plain data: a prompt to fields and back, and the draft that stands in the form.

Knows nothing of components. Versions are read from a library that it is handed, and never written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NotRequired, TypedDict, cast

from pydantic import BaseModel, Field, ValidationError

from bot.errors import BotError, InvalidMessage, PromptError
from bot.prompts.library import DRAFT, PromptLibrary
from bot.prompts.schema import Prompt, check_prompt, plain_lines
from bot.prompts.version import PromptVersion
from bot.web.pages.studio.answering import Answering, Box, merged, settings, without_boxes

EXAMPLES = 20
"""Examples that the form has boxes for; it keeps the rest as they are."""
SOURCE = "written on the page"
MAX_VERSION = 1_000_000


class Opened(TypedDict):
    """What the form was filled from: a version, which was the latest at that time, and after a conflict the versions before,
    whose examples it may hold too."""

    name: str
    version: int
    latest: int
    before: NotRequired[Sequence[int]]


class CheckedOpened(BaseModel):
    """The same, where it comes from a browser."""

    name: str = Field(min_length=1, max_length=100)
    version: int = Field(ge=1, le=MAX_VERSION)
    latest: int = Field(ge=1, le=MAX_VERSION)
    before: tuple[int, ...] = ()

    @property
    def plain(self) -> Opened:
        return cast(Opened, self.model_dump(exclude_unset=True))


@dataclass(frozen=True, slots=True)
class Aside:
    """What was typed into the form over `opened` and is not saved."""

    opened: Opened
    fields: Fields
    note: str


@dataclass(frozen=True, slots=True)
class Fields:
    """What a lead edits: all of a prompt but who wrote it, when and why. `examples` are pairs of customer and agent, `boxes`
    the number that each goes by in the form, where they were read from it: an empty row is no example, and no edit."""

    role: str
    found: str
    nothing: str
    template: str
    examples: tuple[tuple[str, str], ...]
    answering: Answering
    boxes: tuple[int, ...] = field(default=(), compare=False)

    @classmethod
    def of(cls, prompt: Prompt) -> Fields:
        found, nothing = (prompt.knowledge.found, prompt.knowledge.nothing) if prompt.knowledge else ("", "")
        pairs = tuple((e.customer, e.agent) for e in prompt.examples)
        return cls(prompt.role, found, nothing, prompt.template, pairs, Answering.of(prompt))

    @classmethod
    def read(cls, values: Sequence[Box]) -> Fields:
        """From the form's boxes: four texts, then the customers' sides, then the agents', then the examples that had no
        boxes, then how it answers."""
        boxes = [plain_lines(value) if isinstance(value, str) else value for value in values]
        texts = [str(value or "") for value in boxes[: 4 + 2 * EXAMPLES]]
        customers, agents = texts[4 : 4 + EXAMPLES], texts[4 + EXAMPLES :]
        rest, *answering = boxes[4 + 2 * EXAMPLES :]
        rows = enumerate(zip(customers, agents, strict=True), 1)
        pairs = {number: (c, a) for number, (c, a) in rows if c.strip() or a.strip()}
        pairs |= dict(enumerate(without_boxes(rest), EXAMPLES + 1))
        role, found, nothing, template = texts[:4]
        return cls(role, found, nothing, template, tuple(pairs.values()), Answering.read(answering), tuple(pairs))

    def values(self) -> list[Box]:
        """For the form's boxes, in the order of `read`."""
        pairs = [*self.examples[:EXAMPLES], *[("", "")] * (EXAMPLES - len(self.examples))]
        texts = [self.role, self.found, self.nothing, self.template, *[c for c, _ in pairs], *[a for _, a in pairs]]
        return [*texts, self.examples[EXAMPLES:], *self.answering.values()]

    def named(self) -> dict[str, str]:
        """Every text by its place, for a comparison that people read."""
        places = {
            "Role": self.role, "Knowledge found": self.found, "Nothing found": self.nothing, "Template": self.template
        }  # fmt: skip
        for number, (customer, agent) in enumerate(self.examples, 1):
            places[f"Example {number}, customer"], places[f"Example {number}, agent"] = customer, agent
        return places


Form = tuple[Opened, Fields]
"""What the form was filled from, and what it holds."""


def edited(parent: Prompt, fields: Fields, author: str, note: str, before: Sequence[Prompt] = ()) -> Prompt:
    """`parent` with what the form holds, with examples of `before` perhaps. Raises PromptError naming every fault and its
    place; those of how it answers come before those of the texts."""
    pairs = [{"customer": c, "agent": a, "source": _source((parent, *before), c, a)} for c, a in fields.examples]
    knowledge = {"found": fields.found, "nothing": fields.nothing} if fields.found or fields.nothing else None
    return check_prompt(
        {
            **parent.model_dump(exclude_none=True),
            **settings(fields.answering, parent, bool(fields.examples)),
            "role": fields.role,
            "knowledge": knowledge,
            "template": fields.template,
            "examples": pairs,
            "author": author.strip(),
            "note": note.strip(),
            "date": datetime.date.today(),
        },
        fields.boxes,
    )


def _source(parents: Sequence[Prompt], customer: str, agent: str) -> str:
    """An example that was corrected on one side still comes from where it came from."""
    near = [e for parent in parents for e in parent.examples if e.customer == customer or e.agent == agent]
    near.sort(key=lambda e: (e.customer, e.agent) != (customer, agent))
    return near[0].source if near else SOURCE


def check_remarks(author: str, note: str) -> None:
    if not note.strip():
        raise PromptError("The note is empty.", "Say in a sentence what this version changes and why.")
    if not author.strip():
        raise PromptError("The author is empty.", "Write your name or your team's.")


def shown_fields(prompt: Prompt) -> Fields:
    """What the form holds as long as nothing is touched."""
    return Fields.read(Fields.of(prompt).values())


def merged_fields(mine: Fields, base: Fields, theirs: Fields) -> Fields:
    """`mine`, and `theirs` for what I left as `base` had it. The examples count as one."""
    texts = [field.name for field in dataclasses.fields(Fields) if field.name not in ("answering", "boxes")]
    taken = {key: getattr(theirs, key) for key in texts if getattr(mine, key) == getattr(base, key)}
    answering = merged(mine.answering, base.answering, theirs.answering)
    return dataclasses.replace(mine, **taken, answering=answering, boxes=())


def fields_before(library: PromptLibrary, opened: Opened) -> Fields:
    """What a save of the form changes: the latest version at the time when the form was filled, perhaps from an older one.
    Where that cannot be read it is the one that the form was filled from."""
    try:
        return shown_fields(library.get(f"{opened['name']}@{opened['latest']}").prompt)
    except (BotError, OSError):
        return shown_fields(open_version(library, opened).prompt)


def check_opened(opened: Opened) -> None:
    """Raises InvalidMessage where a browser says that its form was filled from what can be no version."""
    try:
        CheckedOpened.model_validate(opened)
    except ValidationError as error:
        raise InvalidMessage(
            f"The form was filled from {opened!r:.80}, which names no version of a prompt.",
            "Copy what you typed, then reload the page and choose one.",
        ) from error


def check_known(opened: Opened, fields: Fields) -> None:
    """Raises InvalidMessage where the form holds texts and nobody knows of what."""
    if not opened and any(fields.values()):
        raise InvalidMessage(
            "The page no longer knows which version this form was filled from.",
            "Copy what you typed since, then reload the page; your edits from before can be brought back there.",
        )
    if opened:
        check_opened(opened)


def open_version(library: PromptLibrary, opened: Opened) -> PromptVersion:
    """The version that the form was filled from."""
    if not opened:
        raise InvalidMessage("No version is open.", "Copy what you typed, then reload the page and choose one.")
    check_opened(opened)
    return library.get(f"{opened['name']}@{opened['version']}")


def versions_before(library: PromptLibrary, opened: Opened) -> list[Prompt]:
    """What the form was filled from before conflicts, as far as it can be read still."""
    found = []
    for version in opened.get("before", ()):
        with contextlib.suppress(BotError, OSError):
            found.append(library.get(f"{opened['name']}@{version}").prompt)
    return found


def draft_of(library: PromptLibrary, opened: Opened, fields: Fields) -> PromptVersion:
    """What stands in the form: the open version where its texts are unchanged, else a draft that was not saved. Raises
    PromptError naming every fault."""
    parent = open_version(library, opened)
    if fields == shown_fields(parent.prompt):
        # Boxes have one kind of line end, and a version's own texts may have others.
        return parent
    remarks = parent.prompt.author, parent.prompt.note
    prompt = edited(parent.prompt, fields, *remarks, versions_before(library, opened))
    return parent if prompt.hash == parent.prompt.hash else PromptVersion(parent.name, DRAFT, prompt)


def is_edited(library: PromptLibrary, opened: Opened, fields: Fields) -> bool:
    """Whether the form holds anything else than the version it was filled from, as far as that can be told: where it cannot
    be read any more the form is all there is. One that is empty throughout was not filled yet."""
    if not opened or not any(fields.values()):
        return False
    try:
        return fields != shown_fields(open_version(library, opened).prompt)
    except (BotError, OSError):
        return True


def title(version: PromptVersion) -> str:
    """As the studio calls it."""
    return version.ref if version.version != DRAFT else "The draft"
