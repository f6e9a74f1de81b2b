"""What every way to use a recipe begins with: the recipe read, its prompt found, its transcripts made into rows.

`bot train` makes a version of it, `--folds` and `--search` only measure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bot.blocking import wait_for
from bot.errors import DataError
from bot.prompts.version import PromptVersion
from bot.refs import check_name
from bot.runs.progress import Progress
from bot.training.processes import process_count
from bot.training.recipe import Recipe, read_recipe
from bot.training.rooms import Rooms
from bot.types import content_hash

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from bot.training.material import Material

SOFT = "-soft"


@dataclass(frozen=True)
class Plan:
    """A recipe that fits this desk, before anything heavy is loaded. `name` is the adapter's; a classifier has no prompt."""

    path: Path
    name: str
    recipe: Recipe
    prompt: PromptVersion | None


@dataclass(frozen=True)
class Prepared:
    """A plan for a LoRA or a soft prompt with its prompt and rows."""

    plan: Plan
    prompt: PromptVersion
    tokenizer: PreTrainedTokenizerBase
    material: Material

    def inputs(self, desk: Rooms) -> dict[str, str]:
        """All that the result depends on, by name, as hashes."""
        import torch

        material, recipe = self.material, self.plan.recipe
        return {
            "the recipe": content_hash(recipe.model_dump_json()),
            "the prompt": self.prompt.prompt.hash,
            "the base": desk.base.hash,
            "the knowledge": material.snapshot,
            "passages": str(desk.settings.passages),
            "the number of threads": str(torch.get_num_threads()),
            "the number of processes": str(process_count()),
            **material.transcripts.files,
        }


def plan(path: Path, desk: Rooms, overrides: Sequence[str]) -> Plan:
    """Raises DataError for a recipe that is not valid, NotFound for a prompt that is not there."""
    recipe = read_recipe(path, overrides)
    folder, workspace = (path.parent / recipe.data).resolve(), desk.settings.workspace.resolve()
    if not (folder.is_relative_to(workspace) or folder.is_relative_to(path.parent.resolve())):
        raise DataError(f"data is {recipe.data!r}, which lies outside the workspace.", "Copy the transcripts into it.")
    return Plan(path, adapter_name(path, recipe), recipe, desk.prompts.get(recipe.prompt) if recipe.prompt else None)


def prepare(plan: Plan, desk: Rooms, progress: Progress) -> Prepared:
    """Raises DataError for a recipe that does not fit the base, or transcripts that cannot be used."""
    # After what is quickly checked: torch takes seconds to import.
    from transformers import logging

    from bot.cores import compute_here
    from bot.engine.local.model import load_tokenizer
    from bot.training.material import gather

    recipe, prompt = plan.recipe, plan.prompt
    if prompt is None:
        raise DataError(f"{plan.path} makes a {recipe.method}, which has no prompt and no replies.", "Take another method.")
    logging.disable_progress_bar()
    compute_here(desk.settings.threads)
    context = desk.base.context
    if context and recipe.max_tokens > context:
        raise DataError(
            f"max_tokens is {recipe.max_tokens:,}; the base {desk.base.name!r} reads {context:,}.", "Set it to that or less."
        )
    tokenizer = load_tokenizer(desk.base)
    folder = plan.path.parent / recipe.data
    return Prepared(plan, prompt, tokenizer, wait_for(lambda: gather(folder, recipe, prompt, desk, tokenizer, progress)))


def adapter_name(path: Path, recipe: Recipe) -> str:
    """The folder's name. A soft prompt or a classifier beside a LoRA of the same transcripts is another adapter:
    `returns-soft`, which can be mixed with it, or `returns-intent`."""
    name = path.resolve().parent.name
    if recipe.method != "lora":
        suffix = SOFT if recipe.method == "soft-prompt" else f"-{recipe.task}"
        name = name.removesuffix(suffix) + suffix
    return check_name("adapter", name)
