"""The studio over a desk whose prompt has two cases."""

from __future__ import annotations

from pathlib import Path

import gradio as gr
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


@pytest.fixture
async def studio(desk: Desk, workspace: Path) -> Studio:
    (workspace / "prompts" / "support" / "cases.yaml").write_text(CASES)
    desk.settings = desk.settings.model_copy(update={"agent": AgentSpec("", "support@production")})
    with gr.Blocks():
        return Studio(desk)
