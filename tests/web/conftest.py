"""Pages built without what a server adds to them, and the studio over a desk whose prompt has two cases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import gradio.blocks
import pytest

from bot.desk import Desk
from bot.types import AgentSpec
from bot.web.pages.studio.tab import Studio

CASES = """
every_reply: [{max_sentences: 2}]
cases:
  - {name: greets, message: "hello?", expect: [{contains: "Hello"}]}
  - {name: thanks, message: "thank you", expect: [{contains: "welcome"}]}
"""


@pytest.fixture(scope="package", autouse=True)
def one_app_for_a_page() -> Iterator[None]:
    """Gradio builds a page's routes at its beginning, at its end and with its queue, and once more where it is mounted;
    only these last ones are ever asked, and each time takes the better part of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gradio.blocks, "App", SimpleNamespace(create_app=lambda *_, **__: None))
        yield


@pytest.fixture
async def studio(desk: Desk, workspace: Path) -> Studio:
    (workspace / "prompts" / "support" / "cases.yaml").write_text(CASES)
    desk.settings = desk.settings.model_copy(update={"agent": AgentSpec("", "support@production")})
    with gr.Blocks():
        return Studio(desk)
