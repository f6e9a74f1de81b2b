"""Question → passages. Keeps each collection's index in step with its articles; the index is derived and may be
deleted at any time."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from bot.errors import KnowledgeError
from bot.knowledge.articles import article_files, collections, read_article, snapshot, split
from bot.knowledge.store import Store
from bot.types import Embedder, Passage, content_hash

log = logging.getLogger("bot")

Progress = Callable[[int, int], None]
"""Called with passages done and passages in all."""
BATCH = 64


class KnowledgeBase:
    """The collections of one workspace.

    `threshold` is the cosine below which a passage does not count as relevant. Store and index work run off the event
    loop; one indexing at a time.
    """

    def __init__(self, root: Path, store: Store, embedder: Embedder, threshold: float) -> None:
        self.root = root
        self.threshold = threshold
        self._store = store
        self._embedder = embedder
        self._indexing = asyncio.Lock()
        self._snapshots: dict[str, tuple[tuple[tuple[str, int, int], ...], str]] = {}

    def collections(self) -> list[str]:
        return collections(self.root)

    def articles(self, collection: str) -> list[str]:
        return [path.stem for path in article_files(self.root, collection)]

    def snapshot(self, collection: str) -> str:
        """Content hash of the collection's articles, read again when a file's time or size changed."""
        files = article_files(self.root, collection)
        state = tuple((f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in files)
        if self._snapshots.get(collection, ((), ""))[0] != state:
            self._snapshots[collection] = (state, snapshot(files))
        return self._snapshots[collection][1]

    def _key(self, collection: str) -> str:
        """Where the store keeps the articles as they are now: vectors of another model or state lie elsewhere."""
        return f"{collection}.{content_hash(self._embedder.id)[:8]}-{self.snapshot(collection)[:16]}"

    async def status(self) -> list[dict[str, object]]:
        """Per collection: articles, passages in the index, whether it is in step, snapshot."""
        rows: list[dict[str, object]] = []
        for name in self.collections():
            size = await asyncio.to_thread(self._store.size, self._key(name))
            rows.append(
                {
                    "collection": name,
                    "articles": len(self.articles(name)),
                    "passages": size,
                    "indexed": size > 0,
                    "snapshot": self.snapshot(name)[:12],
                }
            )
        return rows

    async def index(self, collection: str, progress: Progress | None = None) -> str:
        """Bring the index in step with the articles → its key in the store. Raises KnowledgeError naming every bad
        article; the old index stays then."""
        async with self._indexing:
            key = self._key(collection)
            if not await asyncio.to_thread(self._store.size, key):
                passages = await asyncio.to_thread(self._read, collection)
                # The one before stays, for whoever is searching it at this moment.
                keep = {key, *(await self._kept(collection))[-1:]}
                await self._write(key, passages, progress)
                for old in await asyncio.to_thread(self._store.keys):
                    if old.rpartition(".")[0] == collection and old not in keep:
                        await asyncio.to_thread(self._store.delete, old)
            return key

    async def _kept(self, collection: str) -> list[str]:
        """Keys of the collection's indexes by this embedding model, the last written last; broken ones left out."""
        prefix = self._key(collection).rpartition("-")[0]
        keys = [key for key in await asyncio.to_thread(self._store.keys) if key.rpartition("-")[0] == prefix]
        return [key for key in keys if await asyncio.to_thread(self._store.size, key)]

    async def _searchable(self, collection: str) -> str:
        """The index to answer from: one in step, or the last whole one while an article cannot be read."""
        try:
            return await self.index(collection)
        except KnowledgeError as error:
            kept = await self._kept(collection)
            if not kept:
                raise
            log.error("answering from the last good index of %s: %s", collection, error)
            return kept[-1]

    async def reset(self) -> None:
        """Delete all that is indexed, also an index that is damaged. Articles are untouched."""
        async with self._indexing:
            await asyncio.to_thread(self._store.reset)

    def _read(self, collection: str) -> list[Passage]:
        passages, faults = [], []
        for path in article_files(self.root, collection):
            try:
                passages += split(read_article(path))
            except KnowledgeError as error:
                faults.append(str(error))
        if faults:
            raise KnowledgeError(f"Articles of {collection} cannot be read ({len(faults)}): {' '.join(faults)}")
        if not passages:
            raise KnowledgeError(
                f"The collection {collection!r} holds no article.", f"Put .md files into {self.root / collection}."
            )
        return passages

    async def _write(self, key: str, passages: list[Passage], progress: Progress | None) -> None:
        import numpy as np

        parts = []
        for start in range(0, len(passages), BATCH):
            part = passages[start : start + BATCH]
            parts.append(await self._embedder.embed([f"{p.title}\n{p.text}" for p in part]))
            if progress:
                progress(min(start + BATCH, len(passages)), len(passages))
        await asyncio.to_thread(self._store.write, key, passages, np.concatenate(parts))

    async def search(self, question: str, collection: str, k: int) -> tuple[Passage, ...]:
        """At most k relevant passages, best first; none is normal. Indexes first where that is due."""
        key = await self._searchable(collection)
        vector = (await self._embedder.embed([question]))[0]
        found = await asyncio.to_thread(self._store.query, key, vector, k)
        return tuple(dataclasses.replace(p, score=round(s, 4)) for p, s in found if s >= self.threshold)

    async def search_turn(self, asked: Sequence[str], collection: str, k: int) -> tuple[Passage, ...]:
        """Passages for the last of a customer's messages. A follow-up that finds none is read with the message before
        it. Serving and training both search by this rule."""
        found = await self.search(asked[-1], collection, k)
        if not found and len(asked) > 1:
            found = await self.search("\n".join(asked[-2:]), collection, k)
        return found

    def close(self) -> None:
        self._store.close()
