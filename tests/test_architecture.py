"""The house holds: imports flow one way, heavy libraries stay behind their doors, files and functions stay small."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

FILES = sorted(path for path in (ROOT / "bot").rglob("*.py") if "migrations" not in path.parts)
FLOOR = {"types", "errors", "settings", "files", "refs", "limits", "base", "blocking", "cores", "personal"}
ROOMS = {"prompts", "adapters", "knowledge", "engine", "journal"}
# A part may import the parts of the layers below it, itself, and nothing else of ours. `cli` and `web` stand on top;
# `desk` builds everything, so it stands above what it builds.
LAYERS = [
    FLOOR,
    ROOMS,
    {"metrics", "runs"},
    {"agent"},
    {"publishing"},
    {"starter"},
    {"training"},
    {"evaluation"},
    {"desk"},
    {"skeleton", "terminal"},
    {"web"},
    {"bench"},
    {"doctor"},
    {"commands"},
    {"engineering", "users", "writing"},
    {"cli"},
    {"__main__"},
]
DOORS = {
    "chromadb": ("bot/knowledge/store.py",),
    "sentence_transformers": ("bot/knowledge/embedding.py",),
    "transformers": ("bot/engine/local/", "bot/training/", "bot/starter/", "bot/bench/", "bot/knowledge/embedding.py"),
    "torch": ("bot/cores.py", "bot/engine/local/", "bot/training/", "bot/starter/", "bot/bench/"),
    "numba": ("bot/engine/local/compiled.py",),
    "llvmlite": ("bot/engine/local/compiled.py",),
    "peft": ("bot/engine/local/", "bot/training/", "bot/bench/"),
    "gradio": ("bot/web/pages/",),
    "prometheus_client": ("bot/metrics.py",),
    "matplotlib": ("bot/bench/plot.py", "bot/training/data_plots.py"),
    "sqlalchemy": ("bot/journal/",),
}


def part_of(path: Path) -> str:
    return path.relative_to(ROOT / "bot").with_suffix("").parts[0]


def layer_of(part: str) -> int:
    return next((n for n, layer in enumerate(LAYERS) if part in layer), -1)


def imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    """Module, line, and whether it is imported at run time (not for type checking alone)."""
    tree = ast.parse(path.read_text())
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield name.name, node.lineno, id(node) not in for_types
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module, node.lineno, id(node) not in for_types
            if node.module == "bot":
                yield from ((f"bot.{name.name}", node.lineno, id(node) not in for_types) for name in node.names)


def test_every_part_has_a_layer() -> None:
    assert {part_of(path) for path in FILES} - {"__init__"} <= set().union(*LAYERS)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_flow_one_way(path: Path) -> None:
    own = part_of(path)
    for module, line, _ in imports(path):
        if not module.startswith("bot.") or own == "__init__":
            continue
        other = module.split(".")[1]
        allowed = other == own or layer_of(other) < layer_of(own) or (own in FLOOR and other in FLOOR)
        assert allowed, f"{path}:{line} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_heavy_libraries_stay_behind_their_doors(path: Path) -> None:
    name = str(path.relative_to(ROOT))
    for module, line, at_run_time in imports(path):
        doors = DOORS.get(module.split(".")[0])
        assert not (doors and at_run_time) or name.startswith(doors), f"{name}:{line} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_stay_small_and_say_what_they_are(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 400, "a file has one duty: split it"
    tree = ast.parse(text)
    assert ast.get_docstring(tree), "a module opens with its contract"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} is too long"


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['bot', '--help']\n"
        "from bot.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'gradio', 'chromadb', 'transformers', 'sqlalchemy', 'langchain_core'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "serve" in done.stdout


def test_no_prompt_text_in_code_and_no_code_in_content() -> None:
    for folder in ("adapters", "prompts", "knowledge"):
        assert not list((ROOT / folder).rglob("*.py"))
    for path in FILES:
        assert "You are {" not in path.read_text(), path
