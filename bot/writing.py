"""The prompt writers' commands: the library, its versions and labels, cases and advice. Part of `cli.py`."""

from __future__ import annotations

import asyncio
import difflib
import getpass
import json
import textwrap
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.commands import AsJson, BaseName, EngineName, Workspace, open_desk, put, say, table

if TYPE_CHECKING:
    from bot.desk import Desk
    from bot.prompts.version import PromptVersion
    from bot.publishing.trial import Outcome
    from bot.types import Message

prompts_app = typer.Typer(no_args_is_help=True, help="The versioned prompt library.")
Adapters = Annotated[str | None, typer.Option(help="A mix such as returns*0.7+billing*0.3, or none.")]
Collection = Annotated[str | None, typer.Option(help="A collection, or none.")]


@prompts_app.command("list")
def prompts_list(
    templates: Annotated[bool, typer.Option("--templates", help="What there is to start from, instead.")] = False,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """Every prompt with its versions and labels."""
    if templates:
        from bot.skeleton.templates import get_template, template_names

        found = [(name, get_template(name)[0]) for name in template_names()]
        table(
            [{"template": name, "technique": prompt.technique, "what for": prompt.note} for name, prompt in found], as_json
        )
        return
    desk = open_desk(workspace)
    rows = []
    for name in desk.prompts.names():
        technique, note = _about(desk, f"{name}@{desk.prompts.versions(name)[-1]}")
        labels = ", ".join(f"{label} → {version}" for label, version in sorted(desk.journal.labels(name).items()))
        rows.append(
            {
                "prompt": name,
                "versions": ", ".join(map(str, desk.prompts.versions(name))),
                "labels": labels,
                "technique": technique,
                "newest note": note if as_json else textwrap.shorten(note, 60, placeholder=" …"),
            }
        )
    table(rows, as_json)


def _about(desk: Desk, ref: str) -> tuple[str, str]:
    """A version's technique and note."""
    from bot.errors import PromptError

    try:
        prompt = desk.prompts.get(ref).prompt
    except PromptError as error:
        return "", f"cannot be read: {error}"
    return prompt.technique, prompt.note


@prompts_app.command("show")
def prompts_show(ref: str, workspace: Workspace = None, as_json: AsJson = False) -> None:
    """One version as it stands on disk: name, name@2 or name@production."""
    from bot.prompts.schema import dump_prompt

    found = open_desk(workspace).prompts.get(ref)
    if as_json:
        put(json.dumps({"ref": found.ref, "hash": found.prompt.hash, **found.prompt.model_dump(mode="json")}, indent=1))
    else:
        put(f"# {found.ref}  {found.prompt.hash[:12]}\n{dump_prompt(found.prompt)}", end="")


@prompts_app.command("diff")
def prompts_diff(old: str, new: str, workspace: Workspace = None) -> None:
    """What one version has that another has not, line by line."""
    from bot.prompts.schema import dump_prompt

    desk = open_desk(workspace)
    texts = [(found.ref, dump_prompt(found.prompt).splitlines()) for found in map(desk.prompts.get, (old, new))]
    for line in difflib.unified_diff(texts[0][1], texts[1][1], texts[0][0], texts[1][0], lineterm=""):
        put(line)


@prompts_app.command("new")
def prompts_new(
    name: Annotated[str, typer.Argument(help="What the prompt is called.")],
    source: Annotated[str, typer.Option("--from", help="A template, a version such as support@2, or a .yaml file.")],
    author: Annotated[str, typer.Option(help="Who wrote it; you, where nobody is named.")] = "",
    note: Annotated[str, typer.Option(help="What it is for, or what it changes.")] = "",
    after: Annotated[
        int | None, typer.Option(help="The version that a file changes: it is not saved on one that came since.")
    ] = None,
    workspace: Workspace = None,
) -> None:
    """A new prompt from a template or another version; from a file also the next version of one that is there."""
    from bot.files import read_text
    from bot.prompts.schema import parse_prompt
    from bot.skeleton.templates import begin

    library = open_desk(workspace).prompts
    if source.endswith((".yaml", ".yml")):
        known = library.versions(name) if name in library.names() else [0]
        given = {key: value for key, value in (("author", author), ("note", note)) if value}
        prompt = parse_prompt(read_text(Path(source)), source).model_copy(update=given)
        saved = library.save(name, prompt, known[-1] if after is None else after)
        if saved.version in known:
            say(f"{saved.ref} has this content already: nothing was saved.")
        elif known[-1]:
            say(f"It follows {name}@{known[-1]}.")
    else:
        saved = begin(library, name, source, author or _who(), note)
    put(f"{saved.ref}  {library.root / name / f'v{saved.version}.yaml'}")


@prompts_app.command("label")
def prompts_label(
    ref: Annotated[str, typer.Argument(help="The version, such as support@3.")],
    label: Annotated[str, typer.Argument(help="production, staging, or any other name.")],
    why: Annotated[str, typer.Option(help="Why; it stays in the history.")],
    force: Annotated[bool, typer.Option("--force", help="Also where its cases fail, which is recorded.")] = False,
    adapters: Adapters = None,
    knowledge: Collection = None,
    workspace: Workspace = None,
    base: BaseName = None,
    engine: EngineName = None,
) -> None:
    """Point a label at a version. For production and what customers meet, its cases must pass on their agent."""
    from bot.errors import BotError
    from bot.publishing.labelling import Wish, asks_for_cases, check_wish, put_label, told
    from bot.publishing.trial import unanswered

    async def work(desk: Desk) -> str:
        version = desk.prompts.get(ref)
        wish = Wish(label, _who(), why, desk.journal.labels(version.name).get(label), force)
        customers = desk.settings.agent.prompt
        check_wish(desk.journal, version, wish, customers)
        outcomes: list[Outcome] = []
        if asks_for_cases(version.name, label, customers):
            try:
                outcomes = await _try(desk, version, adapters, knowledge)
            except BotError as error:
                if not force:
                    raise
                outcomes = unanswered(desk.prompts.cases(version.name), error)
                say(f"Its cases were not run to the end: {error}")
        forced = put_label(desk.journal, version, wish, outcomes, customers)
        return f"{version.name}: {told(version, wish, outcomes, forced, customers)}"

    put(_on_desk(workspace, base, engine, work))


@prompts_app.command("undo")
def prompts_undo(
    name: Annotated[str, typer.Argument(help="The prompt, such as support.")],
    label: Annotated[str, typer.Option(help="Which of its labels.")] = "production",
    workspace: Workspace = None,
) -> None:
    """Take a label back to the version it was on before. At once: no case is run for it."""
    from bot.publishing.labelling import undo

    desk = open_desk(workspace)
    desk.prompts.versions(name)
    latest = next((move.id for move in desk.journal.label_moves(name) if move.label == label), 0)
    before, now = undo(desk.journal, desk.prompts, name, label, _who(), latest)
    put(f"{name}: {label} is back on version {now}, from version {before}.")


@prompts_app.command("history")
def prompts_history(name: str, workspace: Workspace = None, as_json: AsJson = False) -> None:
    """How a prompt's labels came to where they are, the latest first."""
    desk = open_desk(workspace)
    desk.prompts.versions(name)
    rows = [
        {
            "at": f"{move.at:%Y-%m-%d %H:%M}",
            "label": move.label,
            "version": move.version,
            "before": move.previous or "",
            "who": move.who,
            "why": move.why,
            "forced": "forced" if move.forced else "",
        }
        for move in desk.journal.label_moves(name)
    ]
    table(rows, as_json)


@prompts_app.command("test")
def prompts_test(
    ref: Annotated[str, typer.Argument(help="The version, such as support@3.")],
    against: Annotated[str | None, typer.Option(help="The old one; production, where it is another version.")] = None,
    adapters: Adapters = None,
    knowledge: Collection = None,
    workspace: Workspace = None,
    base: BaseName = None,
    engine: EngineName = None,
    as_json: AsJson = False,
) -> None:
    """Run a prompt's cases, old against new. Exit code 1 where the new version fails one, or there are none."""
    from bot.prompts.library import PRODUCTION

    async def work(desk: Desk) -> tuple[list[Outcome], list[Outcome], str, str]:
        new = desk.prompts.get(ref)
        standing = desk.journal.labels(new.name).get(PRODUCTION)
        other = against or (f"{new.name}@{standing}" if standing and standing != new.version else "")
        old = desk.prompts.get(other) if other else None
        before = await _try(desk, old, adapters, knowledge, of=new.name) if old else []
        return before, await _try(desk, new, adapters, knowledge), old.ref if old else "", new.ref

    before, after, old, new = _on_desk(workspace, base, engine, work)
    rows = []
    for number, outcome in enumerate(after):
        row: dict[str, Any] = {"case": outcome.case, "message": outcome.message}
        for name, found in ((old, before[number] if before else None), (new, outcome)):
            if found:
                row[name] = "passes" if found.passed else "fails: " + " ".join(found.failures)
                row[f"{name} replies"] = found.reply
        rows.append(row)
    table(rows, as_json)
    failed = sum(not outcome.passed for outcome in after)
    say(f"{new} passes {len(after) - failed} of {len(after)} cases." if after else f"{new} has no cases: nothing was tried.")
    if failed or not after:
        raise typer.Exit(1)


@prompts_app.command("lint")
def prompts_lint(
    refs: Annotated[list[str] | None, typer.Argument(help="Which ones; every prompt's newest where none is named.")] = None,
    workspace: Workspace = None,
    base: BaseName = None,
    as_json: AsJson = False,
) -> None:
    """Advice on prompts: what is legal and yet likely wrong. Exit code 1 where something is an error."""
    from bot.engine.local.encode import encode
    from bot.engine.local.model import load_tokenizer
    from bot.errors import PromptError
    from bot.prompts.lint import Finding, lint

    desk = open_desk(workspace, base=base)
    tokenizer = load_tokenizer(desk.base)

    def count(messages: Sequence[Message]) -> int:
        return len(encode(tokenizer, messages))

    rows = []
    for ref in refs or [f"{name}@{desk.prompts.versions(name)[-1]}" for name in desk.prompts.names()]:
        try:
            found = desk.prompts.get(ref)
            cases = desk.prompts.cases(found.name)
        except PromptError as error:
            findings = [Finding("error", "", "cannot be read", error.what, error.hint)]
        else:
            ref = found.ref
            findings = asyncio.run(lint(found.prompt, cases, count, desk.base.context))
        rows += [{"prompt": ref, **finding.row()} for finding in findings]
    table(rows, as_json)
    if any(row[""] == "error" for row in rows):
        raise typer.Exit(1)


async def _try(
    desk: Desk, version: PromptVersion, adapters: str | None, knowledge: str | None, of: str = ""
) -> list[Outcome]:
    """The cases of the prompt, or of the prompt called `of`, on an agent: by default the one that customers meet."""
    from bot.publishing.trial import run_cases
    from bot.terminal import progress_bar

    spec = desk.settings.agent
    mix, collection = (
        standard if given is None else "" if given == "none" else given
        for given, standard in ((adapters, spec.adapters), (knowledge, spec.knowledge))
    )
    with progress_bar(f"{version.ref}") as advance:
        return await run_cases(
            desk.agent, version, desk.prompts.cases(of or version.name), mix, collection, desk.embedder, advance
        )


def _on_desk(workspace: Path | None, base: str | None, engine: str | None, work: Callable[[Desk], Awaitable[Any]]) -> Any:
    from bot.blocking import wait_for

    async def run() -> Any:
        desk = open_desk(workspace, base=base, engine=engine)
        try:
            return await work(desk)
        finally:
            await desk.close()

    return wait_for(run)


def _who() -> str:
    """Who sits at the terminal, as the machine knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "terminal"
