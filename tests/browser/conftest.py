"""The real server as a process of its own, and headless Chromium in front of it.

Screenshots go to the folder named by SCREENSHOTS, where it is set: they are there to be looked at.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect, sync_playwright

from bot.base import open_base
from tests.conftest import ROOT, make_adapter

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip
DESKTOP = {"width": 1440, "height": 900}
PHONE = {"width": 390, "height": 844}
expect.set_options(timeout=30_000)


@dataclass
class Server:
    """`bot serve` on a copy of the demo workspace."""

    workspace: Path
    engine: str
    port: int = 0
    base: str = "starter"
    address: str = ""
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    def start(self) -> None:
        command = [sys.executable, "-m", "bot", "serve", "--workspace", str(self.workspace), "--engine", self.engine]
        self.process = subprocess.Popen(
            [*command, "--base", self.base, "--port", str(self.port)],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        while not self.address or not self.port:
            line = self.process.stdout.readline()
            assert line, f"the server ended with {self.process.wait()}"
            if line.startswith("Customers"):
                self.address = line.split()[1].rstrip("/")
                self.port = int(self.address.rpartition(":")[2])
        self._answers()

    def _answers(self) -> None:
        """The address is printed when the port is taken, a moment before requests are answered."""
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"{self.address}/health", timeout=5):
                    return
            except OSError:
                time.sleep(0.1)
        raise AssertionError(f"{self.address} does not answer")

    def stop(self) -> None:
        assert self.process
        assert self.process.stdout
        self.process.terminate()
        self.process.wait(30)
        self.process.stdout.close()

    def rows(self, query: str) -> list[Any]:
        """What the journal holds."""
        connection = sqlite3.connect(self.workspace / "var" / "switchboard.db")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


def submit(box: Locator, text: str) -> None:
    """Type and press Enter until it is taken: a page ignores Enter while the reply before is still being closed."""
    for _ in range(30):
        box.fill(text)
        box.press("Enter")
        with contextlib.suppress(AssertionError):
            expect(box).to_have_value("", timeout=1_000)
            return
    raise AssertionError(f"the message was not taken; the page says: {box.page.inner_text('body')}")


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's workspace, to be copied. Its articles are indexed: otherwise the first question to each copy waits for that."""
    folder = tmp_path_factory.mktemp("demo")
    for name in ("adapters", "prompts", "knowledge"):
        shutil.copytree(ROOT / name, folder / name)
    if not list((folder / "adapters" / "returns").glob("v*")):
        make_adapter(open_base("starter"), folder / "adapters" / "returns" / "v1", seed=0)
    command = [sys.executable, "-m", "bot", "knowledge", "rebuild", "--workspace", str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def server(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The local engine on the starter base."""
    made = Server(shutil.copytree(demo, tmp_path_factory.mktemp("desk") / "workspace"), "local")
    made.start()
    yield made
    made.stop()


@pytest.fixture
def slow_server(demo: Path, tmp_path: Path) -> Iterator[Server]:
    """The scripted engine: 30 ms a word, so that there is time to interrupt it. It may be stopped and started."""
    made = Server(shutil.copytree(demo, tmp_path / "workspace"), "scripted")
    made.start()
    yield made
    made.stop()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A person's browser, with cookies of its own."""
    made = browser.new_context(viewport=DESKTOP)  # type: ignore[arg-type]
    yield made
    made.close()


@pytest.fixture
def another_page(browser: Browser) -> Iterator[Callable[[], Page]]:
    """Makes pages of further persons, each with a browser of their own."""
    with contextlib.ExitStack() as made:
        yield lambda: made.enter_context(browser.new_context(viewport=DESKTOP)).new_page()  # type: ignore[arg-type]


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


@pytest.fixture(scope="session")
def shot() -> Callable[[Page, str], None]:
    """Save a screenshot under a name, where somebody wants them."""
    folder = os.environ.get("SCREENSHOTS")

    def save(page: Page, name: str) -> None:
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            page.wait_for_timeout(400)
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    return save
