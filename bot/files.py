"""Files that are never half-written, and readers whose errors name the file.

Pure file handling: knows nothing of what the files mean.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.reader import ReaderError
from yaml.resolver import Resolver

from bot.errors import DataError


def sha256_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Make a file or a folder's list of names durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


PART = ".part"
ABANDONED = 3600
"""Seconds after which a file that was being written has no writer any more."""


def _make(folder: Path) -> None:
    """A folder with those above it, each durable in the one that holds it, or not there at all."""
    if folder.is_dir():
        return
    _make(folder.parent)
    folder.mkdir(exist_ok=True)
    try:
        sync(folder.parent)
    except OSError:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise


def _sweep(folder: Path) -> None:
    """Take away what killed writers left."""
    for left in folder.glob(f".*{PART}"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > ABANDONED:
                left.unlink()


def _write(path: Path, text: str, publish: Callable[[str, Path], None]) -> None:
    _make(path.parent)
    _sweep(path.parent)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        publish(temporary, path)
        sync(path.parent)
    finally:
        # What cannot be taken away is swept later: the file itself is there, or is not.
        with contextlib.suppress(OSError):
            Path(temporary).unlink(missing_ok=True)


def write_atomic(path: Path, text: str) -> None:
    """Replace `path` in one step: readers see the old text or the new one."""
    _write(path, text, os.replace)


def write_new(path: Path, text: str) -> None:
    """Make `path`, which must not exist: of several writers exactly one wins, the rest get FileExistsError."""
    _write(path, text, os.link)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """No other process or thread is in here with this folder: for a file that is read, changed and replaced."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read_text(path: Path) -> str:
    """The UTF-8 text in `path`. Raises DataError naming the file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist.", "Check the path.") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8: {error}.", "Save it as UTF-8.") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.", "Check the path and its rights.") from None


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises DataError naming file and place."""
    try:
        value = json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON: {error}.", "Restore the file.") from None
    if not isinstance(value, dict):
        raise DataError(f"{path} holds a {type(value).__name__}, not a JSON object.", "Restore the file.")
    return value


MAX_DEPTH = 30
"""Mappings and lists in one another."""


class _StrictLoader(Composer, CParser, SafeConstructor, Resolver):
    """Safe YAML without duplicate keys, without aliases, which can blow a small file up, and with at most `most` values:
    what comes after them is not even read."""

    def __init__(self, text: str, most: int | None = None) -> None:
        CParser.__init__(self, text)
        for part in (Composer, SafeConstructor, Resolver):
            part.__init__(self)
        self._left, self._depth = most, 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event: Any = self.peek_event()
        if isinstance(event, yaml.AliasEvent):
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=event.start_mark)  # type: ignore[arg-type]
        if self._left is not None:
            self._left -= 1
            if self._left < 0:
                raise yaml.MarkedYAMLError(problem="too many values", problem_mark=event.start_mark)
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="too deep", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        # What a value raises that is not what its tag or its look says: !!bool x, 2026-13-45.
        except (ValueError, LookupError, AttributeError, TypeError):
            problem = f"{str(node.value)[:40]!r} is no {node.tag.rpartition(':')[2]}"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key is no plain text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} stands twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def line_and_column(text: str, at: int) -> tuple[int, int]:
    """Of the character `at`, both from 1."""
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


def place_in(text: str, keys: Sequence[str | int]) -> tuple[int, int]:
    """Line and column, from 1, of what stands in a YAML text under `keys`, or of the nearest that is there."""
    node = _StrictLoader(text).get_single_node()
    for key in keys:
        if isinstance(node, yaml.MappingNode):
            inner = next((value for name, value in node.value if name.value == str(key)), None)
        else:
            listed = node.value if isinstance(node, yaml.SequenceNode) and isinstance(key, int) else []
            inner = listed[key] if isinstance(key, int) and key < len(listed) else None
        if inner is None:
            break
        node = inner
    mark = node.start_mark if node else None
    return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def parse_yaml(text: str, where: str, most: int | None = None) -> dict[str, Any]:
    """The mapping in `text`, of at most `most` values. Raises DataError with line and column; `where` names the source."""
    line, column = 1, 1
    try:
        loader = _StrictLoader(text, most)
        node: Any = loader.get_single_node()
        value = loader.construct_document(node) if node else None
    except yaml.MarkedYAMLError as error:
        problem = error.problem
        if error.problem_mark:
            line, column = error.problem_mark.line + 1, error.problem_mark.column + 1
    except ReaderError as error:
        # Counted in bytes.
        before = text.encode()[: error.position].decode(errors="ignore")
        (line, column), problem = line_and_column(text, len(before)), error.reason
    except UnicodeEncodeError as error:
        (line, column), problem = line_and_column(text, error.start), f"{error.object[error.start]!a} is half a character"
    else:
        if isinstance(value, dict):
            return value
        if node:
            line, column = node.start_mark.line + 1, node.start_mark.column + 1
        raise DataError(
            f"{where} holds a {type(value).__name__} at line {line}, column {column}, not keys and values.",
            "See the README beside it.",
        )
    raise DataError(f"{where} is not valid YAML at line {line}, column {column}: {problem}.", "Correct that place.")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in `path`. Raises DataError naming file and place."""
    return parse_yaml(read_text(path), str(path))
