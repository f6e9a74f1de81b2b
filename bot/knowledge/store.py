"""Where vectors lie: a `Store` over Chroma (the one file that imports it), and an exact one in memory.

A store keeps one collection a key; the key names content and embedding model, so a changed article makes a new key and
never a mix of old and new. Vectors are always ours (`embedding_function=None`): a collection that carries a function of
its own is never asked to run it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from bot.errors import KnowledgeError
from bot.types import Passage

if TYPE_CHECKING:
    import numpy as np
    from chromadb.api import ClientAPI

BATCH = 200


class Store(Protocol):
    def size(self, key: str) -> int:
        """Passages under `key`; 0 where there is none or it is incomplete."""
        ...

    def write(self, key: str, passages: Sequence[Passage], vectors: np.ndarray) -> None:
        """Replace what is under `key`. Vectors: float32 (n, dimensions), rows of length 1."""
        ...

    def query(self, key: str, vector: np.ndarray, k: int) -> list[tuple[Passage, float]]:
        """The k nearest with their cosine, nearest first."""
        ...

    def keys(self) -> list[str]: ...

    def delete(self, key: str) -> None: ...

    def close(self) -> None: ...


class MemoryStore:
    """Exact search over arrays: for training and tests, and the reference for recall."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[list[Passage], np.ndarray]] = {}

    def size(self, key: str) -> int:
        return len(self._kept[key][0]) if key in self._kept else 0

    def write(self, key: str, passages: Sequence[Passage], vectors: np.ndarray) -> None:
        self._kept[key] = (list(passages), vectors)

    def query(self, key: str, vector: np.ndarray, k: int) -> list[tuple[Passage, float]]:
        passages, vectors = self._kept[key]
        scores = vectors @ vector
        return [(passages[i], float(scores[i])) for i in (-scores).argsort(kind="stable")[:k]]

    def keys(self) -> list[str]:
        return list(self._kept)

    def delete(self, key: str) -> None:
        self._kept.pop(key, None)

    def close(self) -> None:
        self._kept.clear()


class ChromaStore:
    """Chroma, embedded in a folder or on a server. Embedded it belongs to one process: two of them break its index."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self._folder = folder
        self._url = url
        self._lock: FileLock | None = None
        self._client: ClientAPI | None = None

    def _chroma(self) -> ClientAPI:
        if self._client is None:
            import chromadb
            from chromadb.config import Settings

            settings = Settings(anonymized_telemetry=False)
            if self._url:
                parts = urlsplit(self._url)
                try:
                    self._client = chromadb.HttpClient(
                        parts.hostname or "", parts.port or 8000, ssl=parts.scheme == "https", settings=settings
                    )
                except ValueError as error:
                    raise KnowledgeError(
                        f"No Chroma server at {self._url}: {error}", "Start it, or unset chroma_url."
                    ) from None
            else:
                self._take_lock()
                self._client = chromadb.PersistentClient(str(self._folder), settings=settings)
        return self._client

    def _take_lock(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._folder.parent / f"{self._folder.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise KnowledgeError(
                f"The knowledge index {self._folder} is in use by another process, and an embedded index takes one only.",
                "Stop that process, leave knowledge off (--knowledge none), or set chroma_url to a Chroma server.",
            ) from None
        self._lock = lock

    def _collection(self, key: str) -> Any:
        from chromadb.errors import NotFoundError

        try:
            return self._chroma().get_collection(key, embedding_function=None)
        except NotFoundError:
            return None

    def size(self, key: str) -> int:
        collection = self._collection(key)
        if collection is None or (collection.metadata or {}).get("passages") != (count := collection.count()):
            return 0
        return int(count)

    def write(self, key: str, passages: Sequence[Passage], vectors: np.ndarray) -> None:
        self.delete(key)
        collection = self._chroma().create_collection(
            key,
            embedding_function=None,
            configuration={"hnsw": {"space": "cosine"}},
            metadata={"passages": len(passages)},
        )
        for start in range(0, len(passages), BATCH):
            part = passages[start : start + BATCH]
            collection.add(
                ids=[p.id for p in part],
                embeddings=vectors[start : start + BATCH],
                documents=[p.text for p in part],
                metadatas=[{"title": p.title, "article": p.article} for p in part],
            )

    def query(self, key: str, vector: np.ndarray, k: int) -> list[tuple[Passage, float]]:
        found = self._collection(key).query(query_embeddings=[vector], n_results=k)
        rows = zip(found["ids"][0], found["documents"][0], found["metadatas"][0], found["distances"][0], strict=True)
        return [
            (Passage(id_, str(meta["title"]), text, str(meta["article"])), 1.0 - float(distance))
            for id_, text, meta, distance in rows
        ]

    def keys(self) -> list[str]:
        return [collection.name for collection in self._chroma().list_collections()]

    def delete(self, key: str) -> None:
        from chromadb.errors import NotFoundError

        with contextlib.suppress(NotFoundError):
            self._chroma().delete_collection(key)

    def close(self) -> None:
        if self._client is not None:
            self._client.close()  # type: ignore[attr-defined]
            self._client = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None
