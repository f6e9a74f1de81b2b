"""Names and references: `support`, `support@2`, `support@production`. One rule for every kind of named thing."""

from __future__ import annotations

import re
from pathlib import Path

from bot.errors import BotError

NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
MAX_NAME = 64
_VERSION = re.compile(r"v([1-9][0-9]{0,5})")


class BadName(BotError):
    code = "bad_name"


def check_name(kind: str, name: str) -> str:
    """`name` if it may be a folder: lower-case words joined by hyphens. Nothing else ever becomes part of a path."""
    if not is_name(name):
        raise BadName(
            f"{kind.capitalize()} name {name[:MAX_NAME]!r} is not valid: use lower-case letters, digits and single hyphens.",
            "Like: returns, support-examples.",
        )
    return name


def check_label(label: str) -> str:
    """`label` if it may be put on a version. One of digits alone would be read as a version's number."""
    if label.isdecimal():
        raise BadName(f"{label[:MAX_NAME]!r} is no label: a reference takes it for a version's number.", "Add a letter.")
    return check_name("label", label)


def parse_ref(kind: str, ref: str) -> tuple[str, str]:
    """`name@pointer` → (name, pointer); the pointer is "" where none was given."""
    name, _, pointer = ref.strip().partition("@")
    check_name(kind, name)
    if pointer and not pointer.isdecimal():
        check_name(f"{kind} label", pointer)
    return name, pointer


def is_name(name: str) -> bool:
    return len(name) <= MAX_NAME and bool(NAME.fullmatch(name))


def versions(folder: Path, suffix: str = "") -> list[int]:
    """Numbers n of the entries `v<n><suffix>` in `folder`, ascending."""
    if not folder.is_dir():
        return []
    found = (_VERSION.fullmatch(e.name.removesuffix(suffix)) for e in folder.iterdir() if e.name.endswith(suffix))
    return sorted(int(match[1]) for match in found if match)
