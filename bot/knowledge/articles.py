"""Markdown articles with front matter, split by heading into passages. Knows nothing of vectors."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bot.errors import DataError, KnowledgeError, NotFound, faults
from bot.files import parse_yaml, read_text
from bot.refs import check_name, is_name
from bot.types import Passage, content_hash

MAX_PASSAGE = 700
"""Characters; a longer section is split at sentence ends."""


class FrontMatter(BaseModel):
    model_config = ConfigDict(extra="forbid")
    title: str = Field(min_length=1, max_length=200)
    domain: str = Field(min_length=1, max_length=64)
    updated: datetime.date


@dataclass(frozen=True, slots=True)
class Article:
    name: str
    front: FrontMatter
    body: str


def collections(root: Path) -> list[str]:
    return sorted(f.name for f in root.iterdir() if f.is_dir() and is_name(f.name)) if root.is_dir() else []


def article_files(root: Path, collection: str) -> list[Path]:
    """Sorted. Raises NotFound, listing the collections there are."""
    folder = root / check_name("collection", collection)
    if not folder.is_dir():
        raise NotFound("collection", collection, collections(root), "A collection is a folder of Markdown articles.")
    return sorted(folder.glob("*.md"))


def read_article(path: Path) -> Article:
    """Raises KnowledgeError naming file, place and rule."""
    try:
        parts = read_text(path).split("---\n", 2)
        if len(parts) < 3 or parts[0]:
            raise DataError("it has no whole front matter (---, title, domain, updated, ---).")
        return Article(path.stem, FrontMatter.model_validate(parse_yaml(parts[1], "its front matter")), parts[2].strip())
    except ValidationError as error:
        raise KnowledgeError(f"{path.name}: {faults(error)}.", "knowledge/README.md explains the format.") from None
    except DataError as error:
        raise KnowledgeError(f"{path.name}: {error}", "knowledge/README.md explains the format.") from None


def split(article: Article) -> list[Passage]:
    """One passage a section, in order; its id is article#number, stable while the article's headings are."""
    from langchain_text_splitters.character import RecursiveCharacterTextSplitter
    from langchain_text_splitters.markdown import MarkdownHeaderTextSplitter

    by_heading = MarkdownHeaderTextSplitter([("#", "title"), ("##", "section"), ("###", "detail")])
    by_length = RecursiveCharacterTextSplitter(
        chunk_size=MAX_PASSAGE, chunk_overlap=0, separators=["\n\n", "\n", ". ", " ", ""], keep_separator="end"
    )
    passages: list[Passage] = []
    for section in by_heading.split_text(article.body):
        heading = [section.metadata[key] for key in ("section", "detail") if key in section.metadata]
        title = " - ".join([article.front.title, *heading])
        for text in by_length.split_text(section.page_content):
            passages.append(Passage(f"{article.name}#{len(passages) + 1}", title, text.strip(), article.name))
    return passages


def snapshot(files: list[Path]) -> str:
    """Content hash of a collection."""
    return content_hash(*(part for path in files for part in (path.name, path.read_bytes())))
