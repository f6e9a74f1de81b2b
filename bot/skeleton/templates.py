"""Ready prompts for everyday desk tasks, a library to start from: `prompts/<name>/` beside this file. None is served until
`bot prompts new` has made a prompt of it."""

from __future__ import annotations

from pathlib import Path

from bot.errors import NotFound
from bot.prompts.cases import FILE
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
