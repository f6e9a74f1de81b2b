"""Ready prompts for everyday desk tasks, a library to start from: `prompts/<name>/` beside this file. None is served until
somebody has begun a prompt from it."""

from __future__ import annotations

import datetime
from pathlib import Path

from bot.errors import Conflict, NotFound, PromptError
from bot.files import read_text, write_new
from bot.prompts.cases import FILE
from bot.prompts.library import PromptLibrary
from bot.prompts.schema import Prompt, as_written, parse_prompt
from bot.prompts.version import PromptVersion

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
    """A new prompt from a template or from a version such as support@2, with the cases of either; its note is the source's
    where none is given. Raises Conflict where there is a prompt of that name already, or a file of other cases; PromptError
    where it could not be read again or the disk refuses. Beginning again is safe: the prompt is there once its cases are."""
    if name in library.names():
        raise Conflict(
            f"{name}@{library.versions(name)[-1]} is there already.",
            "Choose another name, or save the next version of that one.",
        )
    prompt, cases = _copied(library, source) if "@" in source else get_template(source)
    made = prompt.model_copy(update={"author": author, "date": datetime.date.today(), "note": note or prompt.note})
    as_written(made, f"{name}@1")
    if cases:
        _put_cases(library.folder(name) / FILE, cases)
    return library.save(name, made, 0)


def _copied(library: PromptLibrary, source: str) -> tuple[Prompt, str]:
    """A version and its prompt's cases as YAML, "" where it has none."""
    found = library.get(source)
    path = library.folder(found.name) / FILE
    return found.prompt, read_text(path) if path.exists() else ""


def _put_cases(path: Path, cases: str) -> None:
    try:
        write_new(path, cases)
    except FileExistsError:
        if read_text(path) != cases:
            raise Conflict(
                f"{path} is there already, with other cases.", "Nothing was changed: move it away, or choose another name."
            ) from None
    except OSError as error:
        raise PromptError(f"The cases were not saved: {error.strerror or error}.", "Make room, then begin again.") from None
