"""Adding a case to a prompt's `cases.yaml`: what people wrote there, comments and all, stays as it is.

The case is written behind the last one and read back before the file is replaced, in one step. Of several writers each
finds what the one before it wrote.
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
    text = _with(read_text(path) if path.exists() else "", f"# {remark}\n{dump_yaml([_plain(case)])}", before.cases)
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
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    listed = next((value for key, value in pairs if key.value == "cases"), None)
    ended = text if not text or text.endswith("\n") else f"{text}\n"
    if listed is None:
        return f"{ended}cases:\n{textwrap.indent(item, ' ' * INDENT)}"
    if not isinstance(listed, yaml.SequenceNode):
        return text
    if listed.flow_style:
        # Of the list alone the form changes: it is written one item below the other.
        earlier = dump_yaml([_plain(case) for case in known]) if known else ""
        begun, at = listed.start_mark.index, listed.end_mark.index
        behind = _line_after(ended, at)
        items = textwrap.indent(earlier + item, " " * INDENT)
        return f"{ended[:begun].rstrip()}{ended[at:behind].rstrip()}\n{items}{ended[behind:]}"
    at = _line_after(ended, _end(listed.value[-1]))
    return ended[:at] + textwrap.indent(item, " " * listed.start_mark.column) + ended[at:]


def _end(node: yaml.Node) -> int:
    """Where a node's own text ends: a block's mark lies behind the blank lines and comments that follow it."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    return int(node.end_mark.index)


def _line_after(text: str, at: int) -> int:
    return at if text[at - 1] == "\n" else text.index("\n", at) + 1
