"""Adding a case to a prompt's `cases.yaml`, and taking one out: what people wrote there, comments and all, stays as it is.

A case is written behind the last one. What is to be the new text is read back before the file is replaced, in one step. Of
several writers each finds what the one before it wrote.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from bot.errors import PromptError, faults
from bot.files import alone, read_text, sync, write_atomic
from bot.prompts.cases import FILE, Case, Cases, parse_cases, read_cases
from bot.prompts.schema import dump_yaml

INDENT = 2


def add_case(folder: Path, case: Case, remark: str) -> None:
    """`remark`, of one line, stands above the case as a comment. A case that is there already, such as by an attempt of
    which an error was told, is not added twice. Raises PromptError, with the file as it was, where the case does not go with
    those that are there or cannot be added without writing the file anew; where the disk refuses, it says what is there."""
    try:
        with alone(folder):
            _add(folder, case, remark)
    except OSError as error:
        raise PromptError(f"{_left(folder, case)}: {error.strerror or error}.", "Make room, then save again.") from None


def take_case(folder: Path, title: str, remark: str) -> str:
    """Takes the case of that title out, with the comments right above it, and returns what it took, to be written again
    perhaps. `remark`, of one line, stands at the file's end as a comment. Raises PromptError, with the file as it was, where
    there is no such case or it cannot be taken out without writing the file anew; where the disk refuses, it says what is
    there."""
    try:
        with alone(folder):
            return _take(folder, title, remark)
    except OSError as error:
        raise PromptError(f"{_kept(folder, title)}: {error.strerror or error}.", "Make room, then try again.") from None


def _kept(folder: Path, title: str) -> str:
    """What an error in taking out has left."""
    try:
        there = any(case.title == title for case in read_cases(folder).cases)
    except (OSError, PromptError):
        return "It is not certain that the case was taken out"
    return "The case was not taken out" if there else "The case is out, but the disk failed meanwhile, so it may come back"


def _take(folder: Path, title: str, remark: str) -> str:
    path, before = folder / FILE, read_cases(folder)
    number = next((number for number, case in enumerate(before.cases) if case.title == title), None)
    if number is None:
        raise PromptError(f"There is no case “{title}” any more.", "Choose one of those that there are.")
    left = before.model_copy(update={"cases": [*before.cases[:number], *before.cases[number + 1 :]]})
    text, taken = _without(read_text(path), number, before.cases)
    text += f"# {remark}\n"
    if not _holds(text, left):
        raise PromptError(
            f"{path} writes its cases in a form that none can be taken out of.",
            "Write them one below the other, each begun with a dash; then try again.",
        )
    write_atomic(path, text)
    return taken


def _left(folder: Path, case: Case) -> str:
    """What an error in saving has left."""
    try:
        there = case in read_cases(folder).cases
    except (OSError, PromptError):
        return "It is not certain that the case was saved"
    return "The case is there, but the disk failed meanwhile, so it may not last" if there else "The case was not saved"


def _add(folder: Path, case: Case, remark: str) -> None:
    path, before = folder / FILE, read_cases(folder)
    if case in before.cases:
        sync(folder)
        return
    try:
        wanted = Cases.model_validate({"every_reply": before.every_reply, "cases": [*before.cases, case]})
    except ValidationError as error:
        raise PromptError(f"The case does not fit into {FILE}: {faults(error)}.", "Change it and try again.") from None
    text = _with(read_text(path) if path.exists() else "", f"# {remark}\n{_dumped([case])}", before.cases)
    if not _holds(text, wanted):
        raise PromptError(
            f"{path} writes its cases in a form that cannot be added to.",
            "Write them one below the other, each begun with a dash; then try again.",
        )
    write_atomic(path, text)


def _plain(case: Case) -> dict[str, object]:
    return case.model_dump(exclude_defaults=True, by_alias=True)


def _holds(text: str, wanted: Cases) -> bool:
    try:
        return parse_cases(text, FILE) == wanted
    except PromptError:
        return False


def _with(text: str, item: str, known: Sequence[Case]) -> str:
    """A YAML text with one more item behind the last of its cases, the `known` ones."""
    listed, ended = _listed(text), _ended(text)
    if listed is None:
        return f"{ended}cases:\n{textwrap.indent(item, ' ' * INDENT)}"
    if not isinstance(listed, yaml.SequenceNode):
        return text
    if listed.flow_style:
        return _relisted(ended, listed, (_dumped(known) if known else "") + item)
    at = _line_after(ended, _end(listed.value[-1]))
    return ended[:at] + textwrap.indent(item, " " * listed.start_mark.column) + ended[at:]


def _without(text: str, number: int, known: Sequence[Case]) -> tuple[str, str]:
    """A YAML text without the item of that number of its cases, the `known` ones; and what was taken."""
    listed, ended = _listed(text), _ended(text)
    if not isinstance(listed, yaml.SequenceNode):
        return text, ""
    left = [*known[:number], *known[number + 1 :]]
    if listed.flow_style:
        return _relisted(ended, listed, _dumped(left)), _dumped([known[number]])
    item = listed.value[number]
    begun = ended.rfind("\n", 0, ended.rfind("-", 0, item.start_mark.index)) + 1
    # Not into the case before, whose texts may have lines that look like comments.
    first = _line_after(ended, _end(listed.value[number - 1])) if number else 0
    above = ended[first:begun].splitlines(keepends=True)
    while above and above[-1].lstrip(" ").startswith("#"):
        begun -= len(above.pop())
    behind = _line_after(ended, _end(item))
    none = "" if left else f"{' ' * INDENT}[]\n"
    return ended[:begun] + none + ended[behind:], textwrap.dedent(ended[begun:behind])


def _listed(text: str) -> yaml.Node | None:
    """The list of cases in a YAML text."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return next((value for key, value in pairs if key.value == "cases"), None)


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _dumped(cases: Sequence[Case]) -> str:
    return dump_yaml([_plain(case) for case in cases])


def _relisted(text: str, listed: yaml.Node, items: str) -> str:
    """A list on one line written anew, one item below the other. Of the list alone the form changes."""
    begun, at = listed.start_mark.index, listed.end_mark.index
    behind = _line_after(text, at)
    return f"{text[:begun].rstrip()}{text[at:behind].rstrip()}\n{textwrap.indent(items, ' ' * INDENT)}{text[behind:]}"


def _end(node: yaml.Node) -> int:
    """Where a node's own text ends: a block's mark lies behind the blank lines and comments that follow it."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _line_after(text: str, at: int) -> int:
    return at if text[at - 1] == "\n" else text.index("\n", at) + 1
