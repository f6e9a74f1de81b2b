"""A trained adapter → the next version folder, in one step: readers see no version or a whole one.

Everything is written to a hidden folder beside the versions, verified as serving would, synced, and then renamed.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from bot.adapters.card import CARD, Card, write_card
from bot.adapters.remove import REMOVED
from bot.adapters.verify import verify
from bot.base import Base
from bot.files import sha256_file, sync
from bot.refs import versions
from bot.types import Adapter

README = "README.md"


def publish(
    root: Path,
    base: Base,
    draft: Card,
    write_weights: Callable[[Path], None],
    readme: Callable[[Card], str],
    encoder: Base | None = None,
) -> tuple[Adapter, Card]:
    """`root`/v<n> with n after the newest there ever was → the verified adapter and its finished card.

    `draft` is the card without version and file hashes. Raises AdapterError when the folder would not be served; no
    trace of it stays then.
    """
    root.mkdir(parents=True, exist_ok=True)
    hidden = Path(tempfile.mkdtemp(dir=root, prefix=".new-"))
    try:
        hidden.chmod(0o755)
        write_weights(hidden)
        while True:
            version = max((*versions(root), *versions(root, REMOVED)), default=0) + 1
            card = _finish(hidden, draft.model_copy(update={"version": version}), readme)
            adapter = verify(card.name, version, hidden, base, encoder)
            for path in hidden.iterdir():
                path.chmod(0o644)
                sync(path)
            sync(hidden)
            target = root / f"v{version}"
            try:
                hidden.rename(target)
            except OSError:
                if not target.exists():
                    raise
                continue  # another run took that number meanwhile
            sync(root)
            return dataclasses.replace(adapter, path=target), card
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _finish(folder: Path, card: Card, readme: Callable[[Card], str]) -> Card:
    """Write README and card into `folder` → the card with its files' hashes."""
    (folder / README).write_text(readme(card), encoding="utf-8")
    files = {path.name: sha256_file(path) for path in sorted(folder.iterdir()) if path.name != CARD}
    card = card.model_copy(update={"files": files})
    write_card(folder, card)
    return card
