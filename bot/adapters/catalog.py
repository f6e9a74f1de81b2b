"""The adapters of one workspace: `adapters/<name>/v<n>/`. Names → verified adapters, strings → mixes."""

from __future__ import annotations

import math
from pathlib import Path

from bot.adapters.card import CARD, Card, read_card
from bot.adapters.verify import verify
from bot.base import Base
from bot.errors import AdapterError, NotFound
from bot.limits import MAX_ADAPTERS, MAX_WEIGHT, check_mix
from bot.refs import check_name, is_name, parse_ref, versions
from bot.types import Adapter, Mix


class AdapterCatalog:
    """Looks at the folder anew on every call, so a version that training just wrote is offered without a restart.

    A verified version is remembered by its card's and weights' time and size.
    """

    def __init__(self, root: Path, base: Base, encoder: Base | None = None) -> None:
        self.root = root
        self.base = base
        self._encoder = encoder
        self._verified: dict[tuple[Path, tuple[tuple[str, int, int], ...]], Adapter] = {}

    def names(self) -> list[str]:
        if not self.root.is_dir():
            return []
        return sorted(f.name for f in self.root.iterdir() if f.is_dir() and is_name(f.name) and self._versions(f.name))

    def refs(self) -> list[str]:
        """Every version of every adapter, as name@n."""
        return [f"{name}@{number}" for name in self.names() for number in self._versions(name)]

    def _versions(self, name: str) -> list[int]:
        """Complete versions only: the card is written last."""
        return [n for n in versions(self.root / name) if (self.root / name / f"v{n}" / CARD).exists()]

    def versions(self, name: str) -> list[int]:
        """Ascending. Raises NotFound, listing the adapters there are."""
        found = self._versions(check_name("adapter", name))
        if not found:
            raise NotFound("adapter", name, self.names(), "bot train makes one.")
        return found

    def folder(self, ref: str) -> tuple[str, int, Path]:
        """`name@2`, or `name`, which means the newest version → name, version, folder."""
        name, pointer = parse_ref("adapter", ref)
        known = self.versions(name)
        if pointer and (not pointer.isdecimal() or int(pointer) not in known):
            raise NotFound("version", ref, [f"{name}@{n}" for n in known])
        version = int(pointer) if pointer else known[-1]
        return name, version, self.root / name / f"v{version}"

    def get(self, ref: str) -> Adapter:
        """The verified adapter. Raises AdapterError with the reason when it may not serve."""
        name, version, folder = self.folder(ref)
        key = (folder, tuple((f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in sorted(folder.iterdir())))
        if key not in self._verified:
            self._verified[key] = verify(name, version, folder, self.base, self._encoder)
        return self._verified[key]

    def card(self, ref: str) -> Card:
        return read_card(self.folder(ref)[2])

    def mix(self, text: str) -> Mix:
        """`returns*0.7+friendly@2*0.3` → verified adapters with weights; "" or "base" is the bare base.

        An adapter of weight 0 is left out. Raises AdapterError for a text that is no mix, or one of adapters that may not
        stand together.
        """
        if text.strip() in ("", "base"):
            return Mix()
        terms = text.split("+")
        if len(terms) > MAX_ADAPTERS:
            raise AdapterError(f"{len(terms)} adapters in one mix; at most {MAX_ADAPTERS} are served.", "Leave some out.")
        parts: list[tuple[Adapter, float]] = []
        for term in terms:
            ref, _, number = term.partition("*")
            weight = _weight(term, number) if number or "*" in term else 1.0
            adapter = self.get(ref)
            if any(adapter.name == other.name or adapter.hash == other.hash for other, _ in parts):
                raise AdapterError(f"{adapter.name!r} stands twice in the mix {text!r}.", "Take each adapter once.")
            parts.append((adapter, weight))
        return check_mix(Mix(tuple((adapter, weight) for adapter, weight in parts if weight != 0)))


def _weight(term: str, number: str) -> float:
    try:
        weight = float(number)
    except ValueError:
        weight = math.nan
    if not 0 <= weight <= MAX_WEIGHT:
        raise AdapterError(f"{term.strip()!r} has no weight from 0 to {MAX_WEIGHT:g}.", "Like returns*0.7+billing*0.3.")
    return weight
