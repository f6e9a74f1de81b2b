"""`bot` run as a process of its own whose imports are done already: a server that has them forks one for each command.

Everything else is as at a terminal: arguments, standard input and output as file descriptors, environment, exit code.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["bot.cli", "bot.desk", "bot.journal.journal", "bot.publishing.trial"])
_LONGEST = 120.0
"""Seconds."""


def bot(*words: str, workspace: Path | None = None, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    where = ["--workspace", str(workspace)] if workspace else []
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("stdin", "stdout", "stderr")]
        files[0].write_bytes(stdin)
        process = _FORKS.Process(target=_run, args=([*words, *where], files, dict(os.environ), Path.cwd()))
        process.start()
        process.join(_LONGEST)
        ended = process.exitcode
        process.kill()
        assert ended is not None, f"bot {' '.join(words)} takes longer than {_LONGEST:.0f} s"
        return subprocess.CompletedProcess(words, ended, files[1].read_bytes(), files[2].read_bytes())


def _run(words: list[str], files: list[Path], environment: dict[str, str], folder: Path) -> None:
    for number, path in enumerate(files):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT if number else os.O_RDONLY), number)
    # A process made this way begins with an empty one.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - as the interpreter opens it
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = ["bot", *words]
    from bot.cli import main

    main()
