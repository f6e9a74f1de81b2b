"""Ready prompts for everyday desk tasks, a library to start from: `prompts/<name>/` beside this file. None is served until
somebody has begun a prompt from it."""

from __future__ import annotations

import datetime
from pathlib import Path

from bot.errors import Conflict, NotFound
from bot.files import write_atomic
from bot.prompts.cases import FILE
from bot.prompts.library import PromptLibrary, PromptVersion
from bot.prompts.schema import Prompt, parse_prompt

FOLDER = Path(__file__).parent / "prompts"


def template_names() -> list[str]:
    return sorted(path.name for path in FOLDER.iterdir() if path.is_dir())


def get_template(name: str) -> tuple[Prompt, str]:
    """The prompt and its cases as YAML. Raises NotFound listing the templates there are."""
    if name not in template_names():
        raise NotFound("template", name, template_names())
    folder = FOLDER / name
    return parse_prompt((folder / "v1.yaml").read_text("utf-8"), name), (folder / FILE).read_text("utf-8")


def begin(library: PromptLibrary, name: str, source: str, author: str, note: str = "") -> PromptVersion:
    """A new prompt from a template, with its cases, or from a version such as support@2; its note is the source's where none
    is given. Raises Conflict where there is a prompt of that name already."""
    if name in library.names():
        raise Conflict(
            f"{name}@{library.versions(name)[-1]} is there already.",
            "Choose another name, or save the next version of that one.",
        )
    prompt, cases = (library.get(source).prompt, "") if "@" in source else get_template(source)
    changes = {"author": author, "date": datetime.date.today(), "note": note or prompt.note}
    saved = library.save(name, prompt.model_copy(update=changes), 0)
    if cases:
        write_atomic(library.root / name / FILE, cases)
    return saved
