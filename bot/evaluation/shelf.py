"""The finished reports of a workspace: the newest of a domain, and the page of one."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydantic import ValidationError

from bot.errors import NotFound
from bot.evaluation.results import ArmResult, Report
from bot.runs.folder import EVALUATION, RunFolder, Runs

JSON, PAGE = "report.json", "report.html"


def finished(var: Path) -> list[RunFolder]:
    """Those that have a report, newest first."""
    return [
        folder for folder in Runs(var, EVALUATION).all() if folder.run.state == "done" and (folder.path / JSON).is_file()
    ]


def newest(var: Path, domain: str) -> Report | None:
    """The newest report of a domain; one that cannot be read is passed over. Read anew only when its file changed."""
    for folder in finished(var):
        if folder.run.name == domain and (report := _report(folder.path / JSON)):
            return report
    return None


def page(var: Path, id: str) -> Path:
    """The page of a finished evaluation. Raises NotFound, naming those there are: `id` becomes no path."""
    folders = {folder.run.id: folder.path / PAGE for folder in finished(var)}
    if id not in folders or not folders[id].is_file():
        raise NotFound("report", id, folders)
    return folders[id]


def recommended(report: Report) -> ArmResult | None:
    """The arm that the verdict names; None where it names none."""
    return next((arm for arm in report.arms if arm.name == report.advice.arm), None)


def _report(path: Path) -> Report | None:
    try:
        stat = path.stat()
        return _read(path, stat.st_mtime_ns, stat.st_size)
    except (OSError, ValidationError):
        return None


@lru_cache(maxsize=32)
def _read(path: Path, _changed: int, _size: int) -> Report:
    return Report.model_validate_json(path.read_bytes())
