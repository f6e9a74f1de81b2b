"""Articles → passages → search, on the exact store and on Chroma."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bot.errors import KnowledgeError, NotFound
from bot.knowledge.articles import read_article, split
from bot.knowledge.search import KnowledgeBase
from bot.knowledge.store import ChromaStore, MemoryStore, Store
from tests.conftest import WordEmbedder

ARTICLE = "---\ntitle: {0}\ndomain: d\nupdated: 2026-01-01\n---\n# {0}\n\n## First\n\n{1}\n"


@pytest.fixture(params=["memory", "chroma"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made = MemoryStore() if request.param == "memory" else ChromaStore(tmp_path / "index")
    yield made
    made.close()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "knowledge" / "shop"
    folder.mkdir(parents=True)
    (folder / "returns.md").write_text(ARTICLE.format("Returns", "A lamp can go back within 45 days."))
    (folder / "billing.md").write_text(ARTICLE.format("Billing", "The plan costs 7 euros a month."))
    return folder.parent


@pytest.fixture
def knowledge(root: Path, store: Store) -> KnowledgeBase:
    return KnowledgeBase(root, store, WordEmbedder(), threshold=0.2)


async def test_the_relevant_passage_comes_first_with_its_score(knowledge: KnowledgeBase) -> None:
    found = await knowledge.search("how many days until a lamp can go back", "shop", 3)
    assert found[0].id == "returns#1"
    assert (found[0].title, found[0].article) == ("Returns - First", "returns")
    assert 0.2 <= found[0].score <= 1
    assert list(found) == sorted(found, key=lambda p: -p.score)


async def test_nothing_relevant_is_an_empty_result(knowledge: KnowledgeBase) -> None:
    assert await knowledge.search("zebra quantum", "shop", 3) == ()


async def test_a_changed_article_is_found_at_once_and_the_old_is_gone(
    knowledge: KnowledgeBase, root: Path, store: Store
) -> None:
    await knowledge.index("shop")
    (root / "shop" / "returns.md").write_text(ARTICLE.format("Returns", "A lamp can go back within 60 days of purchase."))
    found = await knowledge.search("how many days until a lamp can go back", "shop", 3)
    assert "60 days" in found[0].text
    assert not any("45 days" in p.text for p in found)
    (root / "shop" / "returns.md").write_text(ARTICLE.format("Returns", "A lamp can go back within 90 days of purchase."))
    await knowledge.index("shop")
    assert len(store.keys()) == 2, "the index in step, and the one before it for whoever is still searching it"


async def test_a_follow_up_is_read_with_the_message_before_it(knowledge: KnowledgeBase) -> None:
    assert await knowledge.search("zebra quantum?", "shop", 3) == ()
    found = await knowledge.search_turn(["can a lamp go back", "zebra quantum?"], "shop", 3)
    assert found
    assert found[0].article == "returns"


async def test_bad_articles_are_all_named_and_the_old_index_stays(knowledge: KnowledgeBase, root: Path) -> None:
    await knowledge.index("shop")
    (root / "shop" / "one.md").write_text("no front matter")
    (root / "shop" / "two.md").write_text("---\ntitle: T\nsurprise: 1\n---\n# T\ntext\n")
    (root / "shop" / "three.md").write_bytes(b"---\ntitle: \xff\n---\n")
    (root / "shop" / "half.md").write_text("---\ntitle: Half")
    with pytest.raises(KnowledgeError, match=r"(?s)half\.md.*front matter.*one\.md.*three\.md.*two\.md"):
        await knowledge.index("shop")
    assert await knowledge.search("how many days can a lamp go back", "shop", 3), "the last good index answers"


async def test_bad_articles_without_an_index_are_an_error(knowledge: KnowledgeBase, root: Path) -> None:
    (root / "shop" / "one.md").write_text("no front matter")
    with pytest.raises(KnowledgeError, match=r"one\.md"):
        await knowledge.search("a lamp", "shop", 3)


async def test_unknown_collections_list_what_exists(knowledge: KnowledgeBase) -> None:
    with pytest.raises(NotFound, match="shop"):
        await knowledge.search("x", "shopp", 3)


async def test_rebuild_gives_the_same_answers(knowledge: KnowledgeBase) -> None:
    before = await knowledge.search("how many days can a lamp go back", "shop", 3)
    await knowledge.reset()
    assert await knowledge.search("how many days can a lamp go back", "shop", 3) == before


def test_long_sections_are_cut_at_sentence_ends_and_lose_nothing(root: Path) -> None:
    sentences = [f"Sentence number {n} says something of its own." for n in range(60)]
    path = root / "shop" / "long.md"
    path.write_text(ARTICLE.format("Long", " ".join(sentences)))
    passages = split(read_article(path))
    assert len(passages) > 2
    assert all(p.text.endswith(".") for p in passages)
    assert " ".join(p.text for p in passages) == " ".join(sentences)


async def test_a_deleted_index_comes_back(root: Path, tmp_path: Path) -> None:
    import shutil

    for _ in range(2):
        store = ChromaStore(tmp_path / "index")
        found = await KnowledgeBase(root, store, WordEmbedder(), 0.2).search("how many days can a lamp go back", "shop", 3)
        assert found[0].id == "returns#1"
        store.close()
        shutil.rmtree(tmp_path / "index")


async def test_a_damaged_index_says_how_to_rebuild_and_can_be(root: Path, tmp_path: Path) -> None:
    index = tmp_path / "index"
    store = ChromaStore(index)
    await KnowledgeBase(root, store, WordEmbedder(), 0.2).index("shop")
    store.close()
    (index / "chroma.sqlite3").write_bytes(b"no database at all" * 1000)
    store = ChromaStore(index)
    knowledge = KnowledgeBase(root, store, WordEmbedder(), 0.2)
    with pytest.raises(KnowledgeError, match="bot knowledge rebuild"):
        await knowledge.index("shop")
    await knowledge.reset()
    assert (await knowledge.search("how many days can a lamp go back", "shop", 3))[0].id == "returns#1"
    store.close()


def test_a_second_process_on_the_same_index_is_refused_at_once(tmp_path: Path) -> None:
    store = ChromaStore(tmp_path / "index")
    store.keys()
    code = f"from pathlib import Path; from bot.knowledge.store import ChromaStore; ChromaStore(Path({str(tmp_path / 'index')!r})).keys()"
    start = time.perf_counter()
    second = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert time.perf_counter() - start < 10
    assert "in use by another process" in second.stderr
    assert "chroma_url" in second.stderr
    store.close()
    third = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert third.returncode == 0, third.stderr
