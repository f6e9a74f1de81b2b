"""The command line: parse, call, print. Everything heavy is imported inside the command that needs it.

Text goes to stdout, progress and remarks to stderr. Exit code 1 is an error that was explained, 2 a misused command.
"""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from bot.errors import BotError

if TYPE_CHECKING:
    from bot.desk import Desk

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
prompts_app = typer.Typer(no_args_is_help=True, help="The versioned prompt library.")
adapters_app = typer.Typer(no_args_is_help=True, help="The adapters of this workspace.")
knowledge_app = typer.Typer(no_args_is_help=True, help="Articles and their index.")
app.add_typer(prompts_app, name="prompts")
app.add_typer(adapters_app, name="adapters")
app.add_typer(knowledge_app, name="knowledge")

data_app = typer.Typer(no_args_is_help=True, help="The transcripts that adapters learn from.")
app.add_typer(data_app, name="data")

bench_app = typer.Typer(no_args_is_help=True, help="Measures this product beside others, on this machine.")
app.add_typer(bench_app, name="bench")

Workspace = Annotated[Path | None, typer.Option("--workspace", "-w", help="Folder with adapters/ prompts/ knowledge/.")]
BaseName = Annotated[str | None, typer.Option("--base", help="starter, a local folder, or a hub id@revision.")]
EngineName = Annotated[str | None, typer.Option("--engine", help="local, remote or scripted.")]
Precision = Literal["float32", "bfloat16"]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def open_desk(workspace: Path | None = None, **given: Any) -> Desk:
    """The desk of an existing workspace: a mistyped folder is refused, not made."""
    from bot.desk import Desk
    from bot.errors import SettingsError
    from bot.settings import load

    settings = load(workspace=workspace, **given)
    if not (settings.workspace / "prompts").is_dir():
        raise SettingsError(
            f"{settings.workspace} is no workspace: it has no prompts/.",
            "Give one with --workspace, or: bot init DIR",
        )
    return Desk(settings)


def say(text: str) -> None:
    """A remark for the person at the terminal."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def put(text: str = "", end: str = "\n") -> None:
    print(text, end=end, flush=True)  # noqa: T201


def table(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Rows with the same keys, as a table or as JSON."""
    if as_json:
        put(json.dumps(list(rows), indent=1, default=str, ensure_ascii=False))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for key in rows[0] if rows else ("nothing here yet",):
        shown.add_column(key.replace("_", " "), overflow="fold")
    for row in rows:
        shown.add_row(*(str(value) for value in row.values()))
    Console(markup=False, highlight=False).print(shown)


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


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="Such as adapters/returns/recipe.yaml.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="Override a key: --set epochs=2")] = None,
    method: Annotated[str | None, typer.Option(help="lora or soft-prompt; the recipe's, where none is given.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with this recipe's newest unfinished run.")] = False,
    folds: Annotated[int, typer.Option(min=0, help="Measure by cross-validation over so many parts; make no version.")] = 0,
    search: Annotated[int, typer.Option(min=0, help="Try so many settings and name the best; make no version.")] = 0,
    workspace: Workspace = None,
    base: BaseName = None,
    as_json: AsJson = False,
) -> None:
    """Train an adapter from transcripts; a good one becomes the next version."""
    import signal

    from bot.training.progress import progress_on_stderr

    overrides = [*(set_ or []), *([f"method={method}"] if method else [])]
    desk = open_desk(workspace, base=base)
    # Whoever ends a run, by hand or as a service, finds it resumable.
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with progress_on_stderr() as progress:
        if folds or search:
            from bot.training.validation import cross_validate, search_settings

            rows = (
                cross_validate(recipe, desk, folds, overrides, progress)
                if folds
                else search_settings(recipe, desk, search, overrides, progress)
            )
        else:
            from bot.training.train import train as run

            trained = run(recipe, desk, overrides, progress, resume)
    if folds or search:
        table(rows, as_json)
    elif trained:
        put(json.dumps(trained.as_dict(), indent=1, ensure_ascii=False) if as_json else trained.as_text())


@data_app.command("report")
def data_report(
    source: Annotated[Path, typer.Argument(help="A recipe.yaml, or a folder with transcripts.")],
    out: Annotated[Path | None, typer.Option(help="The page; var/reports/data-<name>.html where none is named.")] = None,
    workspace: Workspace = None,
    as_json: AsJson = False,
) -> None:
    """What transcripts hold, what is left out and why, labels, personal data, the split: figures and one page."""
    from bot.settings import load
    from bot.training.data_report import examine, write_page

    report = examine(source)
    page = out or load(workspace=workspace).var / "reports" / f"data-{report.name}.html"
    write_page(report, page)
    put(json.dumps(report.as_dict(), indent=1, ensure_ascii=False) if as_json else report.as_text())
    say(f"The page: {page}")


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


@adapters_app.command("list")
def adapters_list(workspace: Workspace = None, base: BaseName = None, as_json: AsJson = False) -> None:
    """Every adapter version and what it was trained on."""
    desk = open_desk(workspace, base=base)
    rows = []
    for ref in desk.adapters.refs():
        row: dict[str, Any] = dict.fromkeys(("adapter", "method", "base", "origin", "prompt", "made", "held out"), "")
        row["adapter"] = ref
        try:
            card = desk.adapters.card(ref)
            row |= {"method": card.method, "base": card.base, "prompt": card.prompt, "made": card.made}
            row["origin"] = "claimed" if card.claimed else "trained here"
            measure = "accuracy" if card.method == "classifier" else "perplexity"
            row["held out"] = f"{measure} {card.metrics.get(f'held_out_{measure}', float('nan')):.4g}"
        except BotError as error:
            row["method"] = str(error)
        rows.append(row)
    table(rows, as_json)


@adapters_app.command("show")
def adapters_show(ref: str, workspace: Workspace = None, base: BaseName = None, as_json: AsJson = False) -> None:
    """An adapter's card."""
    import yaml

    card = open_desk(workspace, base=base).adapters.card(ref).model_dump(mode="json")
    put(json.dumps(card, indent=1) if as_json else yaml.safe_dump(card, sort_keys=False, allow_unicode=True), end="")


@adapters_app.command("verify")
def adapters_verify(
    refs: Annotated[list[str] | None, typer.Argument(help="Which ones; all where none is named.")] = None,
    workspace: Workspace = None,
    base: BaseName = None,
    as_json: AsJson = False,
) -> None:
    """May these adapters serve on this base? Exit code 1 where one may not."""
    desk = open_desk(workspace, base=base)
    rows = []
    for ref in refs or desk.adapters.refs():
        try:
            adapter = desk.adapters.get(ref)
            rows.append({"adapter": adapter.ref, "verdict": "serves", "hash": adapter.hash[:12], "reason": ""})
        except BotError as error:
            if refs and len(refs) == 1:
                raise
            rows.append({"adapter": ref, "verdict": "refused", "hash": "", "reason": str(error)})
    table(rows, as_json)
    if any(row["verdict"] == "refused" for row in rows):
        raise typer.Exit(1)


@adapters_app.command("add")
def adapters_add(
    source: Annotated[str, typer.Argument(help="A PEFT folder, or a hub id as owner/name@revision.")],
    name: Annotated[str, typer.Option(help="What it is called here; made from the source's where none is given.")] = "",
    workspace: Workspace = None,
    base: BaseName = None,
) -> None:
    """Take an adapter in that was trained elsewhere: verified, probed, its origin marked as claimed."""
    from bot.training.foreign import add

    desk = open_desk(workspace, base=base)
    adapter, card = add(source, desk.settings.workspace / "adapters", desk.base, name)
    put(f"{adapter.ref}  {card.method}, claimed, from {card.source}  {adapter.path}")


@adapters_app.command("remove")
def adapters_remove(ref: str, workspace: Workspace = None, base: BaseName = None) -> None:
    """Remove one version, unless customers are served with it."""
    from bot.adapters.remove import remove

    desk = open_desk(workspace, base=base)
    put(f"{remove(desk.adapters, ref, desk.settings.agent.adapters)} is removed.")


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


@bench_app.command("serve")
def bench_serve(
    work: Annotated[Path, typer.Option(help="Folder for the model that speed is measured on.")] = Path("var/bench"),
    out: Annotated[Path | None, typer.Option(help="File for the report, as JSON; a plot is written beside it.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of the comparisons of speed.")] = 3,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch; give the servers as many.")] = 2,
    seed: Annotated[int, typer.Option(help="Another one gives prompts that nobody has seen.")] = 1,
    dtype: Annotated[Precision, typer.Option(help="Of all engines; start the servers in the same.")] = "bfloat16",
    vllm: Annotated[str, typer.Option(help="A vLLM server's address, ending in /v1.")] = "",
    llama: Annotated[str, typer.Option(help="A llama.cpp server's address, ending in /v1.")] = "",
    as_json: AsJson = False,
) -> None:
    """The engine: many chats, each with its own adapters, in one batch. About half an hour."""
    import asyncio

    from bot.bench.serve import Plan, run, write

    plan = Plan(work, rounds, dtype, threads, seed, vllm=vllm, llama=llama)
    report = asyncio.run(run(plan, say, lambda so_far: write(so_far, out) if out else None))
    if as_json:
        put(json.dumps(report, indent=1, ensure_ascii=False))


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
