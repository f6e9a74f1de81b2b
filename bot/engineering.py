"""The engineers' commands: adapters and the transcripts they learn from, training, and measurements. Part of `cli.py`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from bot.commands import AsJson, BaseName, Workspace, open_desk, put, say, table
from bot.errors import BotError

Precision = Literal["float32", "bfloat16"]
adapters_app = typer.Typer(no_args_is_help=True, help="The adapters of this workspace.")
data_app = typer.Typer(no_args_is_help=True, help="The transcripts that adapters learn from.")
bench_app = typer.Typer(no_args_is_help=True, help="Measures this product beside others, on this machine.")


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

    from bot.runs.progress import progress_on_stderr

    if (resume and (set_ or method or folds or search)) or (folds and search):
        raise typer.BadParameter("--resume goes on as the run began, and --folds and --search measure each alone.")
    overrides = [*(set_ or []), *([f"method={method}"] if method else [])]
    desk = open_desk(workspace, base=base)
    # Whoever ends a run, by hand or as a service, finds it resumable. A shell's background jobs would ignore the first.
    signal.signal(signal.SIGINT, signal.default_int_handler)
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


def evaluate(
    scenario: Annotated[str, typer.Option(help="A domain such as returns, or a scenario's own name.")],
    arms: Annotated[list[str] | None, typer.Option(help="Which, as names or patterns: adapter,*+knowledge")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds that replies are drawn with.")] = 2,
    data: Annotated[Path | None, typer.Option(help="A folder with held-out transcripts of your own.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="The most turns; 0 takes all.")] = 0,
    curve: Annotated[bool, typer.Option("--curve", help="Make the learning curve too.")] = False,
    labels: Annotated[bool, typer.Option(help="Labels of messages and hand-off, too.")] = True,
    adapter: Annotated[str, typer.Option(help="Another version than the newest: returns@1")] = "",
    prompt: Annotated[list[str] | None, typer.Option(help="Another one of a technique: few-shot=support@3")] = None,
    prices: Annotated[Path | None, typer.Option(help="A price file.")] = None,
    out: Annotated[Path | None, typer.Option(help="A folder that the report is written to as well.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with this scenario's newest unfinished run.")] = False,
    against: Annotated[Path | None, typer.Option(help="An older report.json; exit code 1 where this one is worse.")] = None,
    max_drop: Annotated[list[str] | None, typer.Option(help="What may be lost: facts-right=0.02")] = None,
    workspace: Workspace = None,
    base: BaseName = None,
    as_json: AsJson = False,
) -> None:
    """Prompt, adapter, or both? Every arm answers the held-out turns; a report and a verdict."""
    import signal

    from bot.evaluation.evaluate import as_text, rows
    from bot.evaluation.evaluate import evaluate as run
    from bot.evaluation.gate import check_against, parse_drops, read_report
    from bot.evaluation.options import make_options
    from bot.runs.progress import progress_on_stderr

    patterns = [part for text in arms or [] for part in text.split(",") if part]
    options = make_options(
        scenario=scenario, arms=patterns, seeds=seeds, data=str(data.resolve()) if data else "", limit=limit, curve=curve,
        labels=labels, adapter=adapter, prompt=prompt or [], prices=str(prices.resolve()) if prices else "",
    )  # fmt: skip
    if resume and options != make_options(scenario=scenario):
        raise typer.BadParameter("--resume goes on as the run began.")
    if bool(max_drop) != bool(against):
        raise typer.BadParameter("--against names a report and --max-drop says what may be lost against it: give both.")
    old, drops = read_report(against) if against else None, parse_drops(max_drop or [])
    desk = open_desk(workspace, base=base, dtype="float32")
    # Whoever ends a run, by hand or as a service, finds it resumable. A shell's background jobs would ignore the first.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    with progress_on_stderr() as progress:
        report, folder = run(options, desk, progress, resume, out)
    if as_json:
        put(report.model_dump_json(indent=1))
    else:
        table(rows(report), as_json)
        put(as_text(report, folder))
    if old and (fallen := check_against(report, old, drops)):
        for text in fallen:
            say(text)
        raise typer.Exit(1)


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
