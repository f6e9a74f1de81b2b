"""The notebook in docs/ still runs, cell by cell, on the scripted engine; what it shows was executed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

NOTEBOOK = json.loads((ROOT / "docs" / "prompts.ipynb").read_text())
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_its_cells_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("SWITCHBOARD_ENGINE", "scripted")
    monkeypatch.setenv("SWITCHBOARD_DATABASE", f"sqlite:///{tmp_path / 'notebook.db'}")
    names: dict[str, Any] = {}
    for cell in CODE:
        exec(compile("".join(cell["source"]), "cell", "exec"), names)
    assert len(names["outcomes"]) == len(names["library"].cases("support").cases)


def test_it_was_executed_and_is_small() -> None:
    assert all(cell["execution_count"] for cell in CODE)
    outputs = [output for cell in CODE for output in cell["outputs"]]
    assert outputs
    assert not any(output["output_type"] == "error" for output in outputs)
    assert len(json.dumps(outputs)) < 20_000
