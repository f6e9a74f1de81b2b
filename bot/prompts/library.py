"""The versions on disk: `prompts/<name>/v<n>.yaml`, immutable once written.

Labels are pointers and live elsewhere: the library is handed a `Labels`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bot.errors import Conflict, NotFound, PromptError
from bot.files import read_yaml, sync, write_new
from bot.prompts.cases import Cases, read_cases
from bot.prompts.schema import Prompt, as_written, parse_prompt
from bot.refs import check_label, check_name, is_name, parse_ref, versions
from bot.types import Labels

if TYPE_CHECKING:
    from bot.prompts.version import PromptVersion

PRODUCTION = "production"
DRAFT = 0
"""The version that a draft goes by until it is saved: those on disk begin at 1."""
RESERVED = {"scenarios"}


class PromptLibrary:
    """The prompts of one workspace. Reads files anew when they change; never caches a pointer."""

    def __init__(self, root: Path, labels: Labels, draft: PromptVersion | None = None) -> None:
        self.root = root
        self._labels = labels
        self._draft = draft
        self._read: dict[tuple[Path, int, int], Prompt] = {}

    def trying(self, draft: PromptVersion) -> PromptLibrary:
        """The same library, in which `draft` is found by its reference without being saved."""
        return PromptLibrary(self.root, self._labels, draft)

    def names(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return sorted(
            f.name for f in self.root.iterdir() if is_name(f.name) and f.name not in RESERVED and versions(f, ".yaml")
        )

    def versions(self, name: str) -> list[int]:
        """Ascending. Raises NotFound, listing the prompts there are."""
        found = versions(self.root / check_name("prompt", name), ".yaml") if name not in RESERVED else []
        if not found:
            raise NotFound("prompt", name, self.names())
        return found

    def get(self, ref: str) -> PromptVersion:
        """`name@2`, `name@staging`, or `name`, which means `name@production`. Never falls back to another version."""
        name, pointer = parse_ref("prompt", ref)
        if self._draft and ref == self._draft.ref:
            return self._draft
        known = self.versions(name)
        if pointer.isdecimal():
            if int(pointer) not in known:
                raise NotFound("version", ref, [f"{name}@{n}" for n in known])
            return _version(name, int(pointer), self._prompt(name, int(pointer)))
        version, pinned = self._labels.resolve(name, pointer or PRODUCTION)
        if version not in known:
            raise NotFound("version", f"{name}@{version}", [f"{name}@{n}" for n in known], "A label points at it.")
        prompt = self._prompt(name, version)
        if prompt.hash != pinned:
            raise PromptError(
                f"{name}@{version} is not what the label {pointer or PRODUCTION!r} was put on: its content changed.",
                "Versions never change: restore the file, or put the label anew.",
            )
        return _version(name, version, prompt)

    def cases(self, name: str) -> Cases:
        """What the replies under a prompt must hold, whichever version. Raises PromptError for a file that does not fit."""
        self.versions(name)
        return read_cases(self.root / name)

    def _prompt(self, name: str, version: int) -> Prompt:
        path = self.root / name / f"v{version}.yaml"
        stat = path.stat()
        key = (path, stat.st_mtime_ns, stat.st_size)
        if key not in self._read:
            try:
                self._read[key] = parse_prompt(path.read_text(encoding="utf-8"), f"{name}@{version}")
            except UnicodeDecodeError as error:
                raise PromptError(f"{name}@{version} is not UTF-8: {error}.", "Save it as UTF-8.") from None
        return self._read[key]

    def save(self, name: str, prompt: Prompt, parent: int) -> PromptVersion:
        """A new version made from version `parent` (0 for a new prompt).

        Content that a version already has is not a new version and gives that one back, also one that was saved since, such
        as by an attempt of which an error was told. Raises Conflict when another version was saved since; nothing is
        overwritten then. Raises PromptError where the version could not be read again, with nothing written, and where the
        disk refuses, which says whether the version is there.
        """
        folder = self.folder(name)
        known = versions(folder, ".yaml")
        latest = known[-1] if known else 0
        number = latest + 1
        text = as_written(prompt, f"{name}@{number}")
        try:
            if same := self._same(name, known if latest == parent else [n for n in known if n > parent], prompt):
                number = same.version
                sync(folder)
                return same
            if latest != parent:
                raise Conflict(
                    f"{name}@{latest} was saved since you began from version {parent}.", "Compare the two and save again."
                )
            write_new(folder / f"v{number}.yaml", text)
        except FileExistsError:
            if not folder.is_dir():
                raise PromptError(
                    f"{folder} is a file, and {name} needs a folder there.", "Move it, then save again."
                ) from None
            raise Conflict(f"{name}@{number} was saved at the same moment.", "Compare the two and save again.") from None
        except OSError as error:
            raise PromptError(*self._after(error, name, number, prompt)) from None
        return _version(name, number, prompt)

    def folder(self, name: str) -> Path:
        """Where a prompt's files are, or would be. Raises BadName or PromptError for what cannot be a prompt's name."""
        if check_name("prompt", name) in RESERVED:
            raise PromptError(f"{name!r} is a reserved folder.", "Choose another name.")
        return self.root / name

    def _after(self, error: OSError, name: str, version: int, prompt: Prompt) -> tuple[str, str]:
        """What an error in saving has left, and what to do: it may come once the version is there, whole but perhaps not for
        good."""
        reason = error.strerror or str(error)
        again = "Save again to make sure: what is there is not saved twice."
        try:
            if self._prompt(name, version).hash == prompt.hash:
                return f"{name}@{version} is there, but the disk failed meanwhile, so it may not last: {reason}.", again
        except FileNotFoundError:
            # The error came before the version did.
            pass
        except (OSError, PromptError):
            return f"It is not certain that {name}@{version} was saved: {reason}.", again
        return f"{name}@{version} was not saved: {reason}.", "Make room, then save again."

    def _same(self, name: str, known: Sequence[int], prompt: Prompt) -> PromptVersion | None:
        """The newest version with this content. One that cannot be read has none."""
        for version in reversed(known):
            with contextlib.suppress(PromptError):
                found = self._prompt(name, version)
                if found.hash == prompt.hash:
                    return _version(name, version, found)
        return None

    def seed_labels(self) -> dict[tuple[str, str], tuple[int, str]]:
        """The labels that `labels.yaml` proposes for an empty database: {(prompt, label): (version, hash)}."""
        path = self.root / "labels.yaml"
        pins: dict[tuple[str, str], tuple[int, str]] = {}
        for name, pointers in (read_yaml(path) if path.exists() else {}).items():
            if not isinstance(pointers, dict):
                raise PromptError(f"{path}: {name!r} is not a list of label: version.", "Like  support: {production: 2}.")
            for label, version in pointers.items():
                found = self.get(f"{name}@{version}")
                pins[name, check_label(str(label))] = (found.version, found.prompt.hash)
        return pins


def _version(name: str, version: int, prompt: Prompt) -> PromptVersion:
    from bot.prompts.version import PromptVersion

    return PromptVersion(name, version, prompt)
