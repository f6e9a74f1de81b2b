"""An adapter that serves."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot.base import Base
from tests.conftest import make_adapter


@pytest.fixture(scope="module")
def good(tiny_base: Base, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter(tiny_base, tmp_path_factory.mktemp("adapters") / "returns" / "v1", seed=1)
