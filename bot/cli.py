"""The command line: parse, call, print. Everything heavy is imported inside the command that needs it.

Text goes to stdout, progress and remarks to stderr. Exit code 1 is an error that was explained, 2 a misused command.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot import engineering
from bot.commands import AsJson, BaseName, EngineName, Workspace, open_desk, put, say, table
from bot.errors import BotError

if TYPE_CHECKING:
    from bot.desk import Desk

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
prompts_app = typer.Typer(no_args_is_help=True, help="The versioned prompt library.")
knowledge_app = typer.Typer(no_args_is_help=True, help="Articles and their index.")
app.add_typer(prompts_app, name="prompts")
app.add_typer(knowledge_app, name="knowledge")

app.command()(engineering.train)
app.command()(engineering.evaluate)
app.add_typer(engineering.adapters_app, name="adapters")
app.add_typer(engineering.data_app, name="data")
app.add_typer(engineering.bench_app, name="bench")


@app.command()
def serve(
    workspace: Workspace = None,
    host: Annotated[str | None, typer.Option(help="Address to serve on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to serve on; 0 takes a free one.")] = None,
    base: BaseName = None,
    engine: EngineName = None,
) -> None:
    """Start the pages and the OpenAI-compatible API."""
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("bot").setLevel(logging.INFO)
    desk = open_desk(workspace, host=host, port=port, base=base, engine=engine)

    def announce(address: str) -> None:
        put(f"Customers   {address}/")
        put(f"Staff       {address}/desk")
        put(f"API         {address}/v1   (model: {desk.base.name}, agent, or an adapter)")
        say("Open to everybody on this machine, and to nobody else. Ctrl-C stops it.")

    from bot.web.app import serve as run

    run(desk, announce)


@app.command()
def chat(
    prompt: Annotated[str | None, typer.Option(help="name, name@version, name@label, or none.")] = None,
    adapters: Annotated[str | None, typer.Option(help="A mix such as returns*0.7+billing*0.3, or none.")] = None,
    knowledge: Annotated[str | None, typer.Option(help="A collection, or none.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same reply.")] = 0,
    temperature: Annotated[float | None, typer.Option(help="0 is greedy.")] = None,
    workspace: Workspace = None,
    base: BaseName = None,
    engine: EngineName = None,
) -> None:
    """Talk to an agent, or pipe one question in. What is not given is the agent that customers meet."""
    from bot.terminal import Chat
    from bot.types import AgentSpec

    desk = open_desk(workspace, base=base, engine=engine)
    spec = desk.settings.agent
    names = [_or_none(g, d) for g, d in ((adapters, spec.adapters), (prompt, spec.prompt), (knowledge, spec.knowledge))]
    sampling: dict[str, object] = {} if temperature is None else {"temperature": temperature}
    Chat(desk, AgentSpec(*names), sampling, seed, put, say).run()


def _or_none(given: str | None, default: str) -> str:
    return default if given is None else "" if given == "none" else given


@app.command()
def init(folder: Annotated[Path, typer.Argument(help="A folder that is not there yet, or is empty.")]) -> None:
    """Make a new workspace with one prompt and one article to start from."""
    from bot.skeleton import make_workspace

    for path in make_workspace(folder):
        put(str(path))
    say(f"Now: bot chat --workspace {folder}")


@app.command()
def doctor(workspace: Workspace = None, base: BaseName = None, as_json: AsJson = False) -> None:
    """Say what is there, what is missing, and the next step."""
    from bot.desk import Desk
    from bot.doctor import examine
    from bot.settings import load

    findings = examine(Desk(load(workspace=workspace, base=base)))
    table([finding.row() for finding in findings], as_json)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


@prompts_app.command("list")
def prompts_list(workspace: Workspace = None, as_json: AsJson = False) -> None:
    """Every prompt with its versions and labels."""
    desk = open_desk(workspace)
    rows = []
    for name in desk.prompts.names():
        newest = desk.prompts.get(f"{name}@{desk.prompts.versions(name)[-1]}")
        labels = ", ".join(f"{label} → {version}" for label, version in sorted(desk.journal.labels(name).items()))
        rows.append(
            {
                "prompt": name,
                "versions": ", ".join(map(str, desk.prompts.versions(name))),
                "labels": labels,
                "technique": newest.prompt.technique,
                "newest note": newest.prompt.note if as_json else textwrap.shorten(newest.prompt.note, 60, placeholder=" …"),
            }
        )
    table(rows, as_json)


@prompts_app.command("show")
def prompts_show(ref: str, workspace: Workspace = None, as_json: AsJson = False) -> None:
    """One version as it stands on disk: name, name@2 or name@production."""
    from bot.prompts.schema import dump_prompt

    found = open_desk(workspace).prompts.get(ref)
    if as_json:
        put(json.dumps({"ref": found.ref, "hash": found.prompt.hash, **found.prompt.model_dump(mode="json")}, indent=1))
    else:
        put(f"# {found.ref}  {found.prompt.hash[:12]}\n{dump_prompt(found.prompt)}", end="")


def _with_knowledge(workspace: Path | None, work: Callable[[Desk], Any]) -> Any:
    from bot.blocking import wait_for

    async def run() -> Any:
        desk = open_desk(workspace)
        try:
            return await work(desk)
        finally:
            await desk.close()

    return wait_for(run)


def _indexed(workspace: Path | None, collection: str | None, rebuild: bool) -> None:
    from bot.terminal import progress_bar

    async def work(desk: Desk) -> list[dict[str, Any]]:
        if rebuild:
            await desk.knowledge.reset()
        for name in [collection] if collection else desk.knowledge.collections():
            with progress_bar(f"indexing {name}") as advance:
                await desk.knowledge.index(name, advance)
        return await desk.knowledge.status()

    table(_with_knowledge(workspace, work), as_json=False)


@knowledge_app.command("index")
def knowledge_index(collection: str | None = typer.Argument(None), workspace: Workspace = None) -> None:
    """Bring the index in step with the articles."""
    _indexed(workspace, collection, rebuild=False)


@knowledge_app.command("rebuild")
def knowledge_rebuild(workspace: Workspace = None) -> None:
    """Delete the index, also a damaged one, and make it anew from the articles."""
    _indexed(workspace, None, rebuild=True)


@knowledge_app.command("status")
def knowledge_status(workspace: Workspace = None, as_json: AsJson = False) -> None:
    """Which collections there are, and whether their index is in step."""

    async def work(desk: Desk) -> list[dict[str, Any]]:
        return await desk.knowledge.status()

    table(_with_knowledge(workspace, work), as_json)


@knowledge_app.command("search")
def knowledge_search(
    question: str,
    collection: Annotated[str | None, typer.Option(help="The default agent's, where none is named.")] = None,
    k: Annotated[int | None, typer.Option(min=1, max=50, help="How many passages.")] = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """The passages that a reply to this question would rest on."""
    from bot.errors import NotFound
    from bot.limits import check_text

    async def work(desk: Desk) -> list[dict[str, Any]]:
        where = collection or desk.settings.agent.knowledge
        if not where:
            raise NotFound("collection", "", desk.knowledge.collections(), "Name one with --collection.")
        found = await desk.knowledge.search(check_text(question, "The question"), where, k or desk.settings.passages)
        return [{"score": f"{p.score:.3f}", "passage": p.id, "title": p.title, "text": p.text} for p in found]

    rows = _with_knowledge(workspace, work)
    if not rows:
        say("No passage is relevant to this question.")
    table(rows, as_json)


def main() -> None:
    """The entry point: errors that were foreseen are one line on stderr."""
    try:
        app()
    except BotError as error:
        say(f"bot: {error}")
        sys.exit(1)
    except OSError as error:
        say(f"bot: {error.strerror or error}: {error.filename}" if error.filename else f"bot: {error}")
        sys.exit(1)
