"""Question → passages. Keeps each collection's index in step with its articles; the index is derived and may be
deleted at any time."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from bot.errors import KnowledgeError, NotFound
from bot.knowledge.articles import article_files, collections, read_article, snapshot, split
from bot.knowledge.store import Store
from bot.types import Embedder, Passage, content_hash

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
        self._keys: dict[str, tuple[tuple[tuple[str, int, int], ...], str]] = {}

    def collections(self) -> list[str]:
        return collections(self.root)

    def articles(self, collection: str) -> list[str]:
        return [path.stem for path in article_files(self.root, collection)]

    def article(self, collection: str, name: str) -> str:
        """An article's Markdown, front matter left out."""
        for path in article_files(self.root, collection):
            if path.stem == name:
                return read_article(path).body
        raise NotFound("article", name, self.articles(collection))

    def snapshot(self, collection: str) -> str:
        """Content hash of the collection's articles, read again when a file's time or size changed."""
        files = article_files(self.root, collection)
        state = tuple((f.name, f.stat().st_mtime_ns, f.stat().st_size) for f in files)
        if self._keys.get(collection, ((), ""))[0] != state:
            self._keys[collection] = (state, snapshot(files))
        return self._keys[collection][1]

    def _key(self, collection: str) -> str:
        return f"{collection}.{content_hash(self.snapshot(collection), self._embedder.id)[:16]}"

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

    async def index(self, collection: str, progress: Progress | None = None, rebuild: bool = False) -> int:
        """Bring the index in step with the articles → passages in it. Raises KnowledgeError naming every bad article;
        the old index stays then."""
        async with self._indexing:
            key = self._key(collection)
            size = await asyncio.to_thread(self._store.size, key)
            if size and not rebuild:
                return size
            passages = await asyncio.to_thread(self._read, collection)
            await self._write(key, passages, progress)
            for old in await asyncio.to_thread(self._store.keys):
                if old != key and old.rpartition(".")[0] == collection:
                    await asyncio.to_thread(self._store.delete, old)
            return len(passages)

    def _read(self, collection: str) -> list[Passage]:
        passages, faults = [], []
        for path in article_files(self.root, collection):
            try:
                passages += split(read_article(path))
            except KnowledgeError as error:
                faults.append(str(error))
        if faults:
            raise KnowledgeError(f"{len(faults)} articles of {collection} cannot be read: {' '.join(faults)}")
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
        await self.index(collection)
        vector = (await self._embedder.embed([question]))[0]
        found = await asyncio.to_thread(self._store.query, self._key(collection), vector, k)
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
