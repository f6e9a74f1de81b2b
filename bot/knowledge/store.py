"""Where vectors lie: a `Store` over Chroma (the one file that imports it), and an exact one in memory.

A store keeps one collection a key; the key names content and embedding model, so a changed article makes a new key and
never a mix of old and new. Vectors are always ours (`embedding_function=None`): a collection that carries a function of
its own is never asked to run it.
"""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from bot.errors import BotError, KnowledgeError
from bot.types import Passage

if TYPE_CHECKING:
    import numpy as np
    from chromadb.api import ClientAPI

BATCH = 200
_OURS = re.compile(r"[a-z0-9-]+\.[0-9a-f]{8}-[0-9a-f]{16}")
P = ParamSpec("P")
T = TypeVar("T")


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

    def keys(self) -> list[str]:
        """In the order they were written."""
        ...

    def delete(self, key: str) -> None: ...

    def reset(self) -> None:
        """Delete everything, also what is damaged."""
        ...

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

    def reset(self) -> None:
        self._kept.clear()

    def close(self) -> None:
        self._kept.clear()


class IndexInUse(KnowledgeError):
    """Another process has the embedded index open."""

    code = "index_in_use"


def _explained(method: Callable[P, T]) -> Callable[P, T]:
    """What Chroma raises over a damaged index or a lost server, in words."""

    @functools.wraps(method)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return method(*args, **kwargs)
        except (BotError, KeyboardInterrupt, SystemExit):
            raise
        # Chroma's Rust core panics with exceptions that are no Exception.
        except BaseException as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise KnowledgeError(
                f"The knowledge index cannot be used: {reason}.", "bot knowledge rebuild makes it anew."
            ) from None

    return wrapped


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
        if self._lock is not None:
            return
        lock = FileLock(self._folder.parent / f"{self._folder.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise IndexInUse(
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

    @_explained
    def size(self, key: str) -> int:
        collection = self._collection(key)
        if collection is None or (collection.metadata or {}).get("passages") != (count := collection.count()):
            return 0
        return int(count)

    @_explained
    def write(self, key: str, passages: Sequence[Passage], vectors: np.ndarray) -> None:
        self.delete(key)
        collection = self._chroma().create_collection(
            key,
            embedding_function=None,
            configuration={"hnsw": {"space": "cosine"}},
            metadata={"passages": len(passages), "written": time.time()},
        )
        for start in range(0, len(passages), BATCH):
            part = passages[start : start + BATCH]
            collection.add(
                ids=[p.id for p in part],
                embeddings=vectors[start : start + BATCH],
                documents=[p.text for p in part],
                metadatas=[{"title": p.title, "article": p.article} for p in part],
            )

    @_explained
    def query(self, key: str, vector: np.ndarray, k: int) -> list[tuple[Passage, float]]:
        found = self._collection(key).query(query_embeddings=[vector], n_results=k)
        rows = zip(found["ids"][0], found["documents"][0], found["metadatas"][0], found["distances"][0], strict=True)
        return [
            (Passage(id_, str(meta["title"]), text, str(meta["article"])), 1.0 - float(distance))
            for id_, text, meta, distance in rows
        ]

    @_explained
    def keys(self) -> list[str]:
        ours = [c for c in self._chroma().list_collections() if _OURS.fullmatch(c.name)]
        return [c.name for c in sorted(ours, key=lambda c: (c.metadata or {}).get("written", 0))]

    @_explained
    def delete(self, key: str) -> None:
        from chromadb.errors import NotFoundError

        with contextlib.suppress(NotFoundError):
            self._chroma().delete_collection(key)

    @_explained
    def reset(self) -> None:
        if self._url:
            for key in self.keys():
                self.delete(key)
            return
        from chromadb.api.shared_system_client import SharedSystemClient

        self._forget()
        # Chroma keeps what it has opened by path, and would hand a damaged one out again.
        SharedSystemClient.clear_system_cache()
        self._take_lock()
        shutil.rmtree(self._folder)

    def _forget(self) -> None:
        if self._client is not None:
            self._client.close()  # type: ignore[attr-defined]
            self._client = None

    def close(self) -> None:
        self._forget()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
