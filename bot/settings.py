"""The one reader of configuration: command line > environment (`SWITCHBOARD_…`) > `settings.yaml` of the workspace >
the defaults below. Reading has no side effects: no folder is made, nothing is logged.

`deploy/settings.yaml` names every key with its comment; a test holds the two together.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import pydantic_settings
import yaml
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from bot.errors import SettingsError, faults
from bot.types import AgentSpec

FILE = "settings.yaml"
PREFIX = "SWITCHBOARD_"


class Settings(BaseSettings):
    """Everything that can be set. Frozen once read."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, yaml_file_encoding="utf-8"
    )

    workspace: Path = Field(Path(), description="Folder with adapters/ prompts/ knowledge/ and var/")
    base: str = Field("starter", description="Base model: starter, a local folder, or a hub id@revision")
    engine: Literal["local", "remote", "scripted"] = Field("local", description="What runs the model")
    dtype: Literal["auto", "float32", "bfloat16"] = Field("auto", description="Precision of the local engine")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where the local engine runs; auto takes a GPU")
    batch_memory: float = Field(2, gt=0, description="GiB that the chats of one batch may take, beside the weights")
    threads: int = Field(0, ge=0, description="CPU threads of the local engine; 0 leaves it to torch")
    max_queue: int = Field(32, ge=1, description="Replies that may wait; beyond it requests get 429")
    deadline: float = Field(300, gt=0, description="Seconds from a message to the end of its reply, finished or not")
    remote_url: str = Field("", description="Address of an OpenAI-compatible server, ending in /v1")
    remote_key: SecretStr = Field(SecretStr(""), description="Its API key")
    remote_base: str = Field("", description="The base model's name on that server")
    database: str = Field("", description="SQLAlchemy URL; empty means SQLite in var/switchboard.db")
    chroma_url: str = Field("", description="A Chroma server such as http://127.0.0.1:8000; empty means embedded")
    embedding: str = Field("minilm", description="minilm (bundled) or a sentence-transformers model folder or id")
    encoder: str = Field("minilm", description="What classifiers stand on: minilm (bundled) or a transformers folder")
    passages: int = Field(3, ge=1, le=20, description="Passages a reply may rest on")
    threshold: float = Field(0.38, ge=-1, le=1, description="Cosine below which a passage counts as not relevant")
    host: str = Field("127.0.0.1", description="Address to serve on")
    visitors: bool = Field(False, description="Whether people who have not signed in may chat as customers")
    port: int = Field(7860, ge=0, le=65535, description="Port to serve on; 0 takes a free one")
    agent: AgentSpec = Field(AgentSpec("", "support@production", "larkmoor"), description="The agent that customers meet")

    @property
    def var(self) -> Path:
        return self.workspace / "var"

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.var / 'switchboard.db'}"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        workspace = init_settings().get("workspace") or os.environ.get(PREFIX + "WORKSPACE") or "."
        return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, Path(str(workspace)) / FILE)


def load(**command_line: Any) -> Settings:
    """Settings with command-line values on top; None means "not given". Raises SettingsError naming every bad key."""
    given = {key: value for key, value in command_line.items() if value is not None}
    unknown = sorted(key for key in os.environ if key.startswith(PREFIX) and _field(key) not in Settings.model_fields)
    if unknown:
        raise SettingsError(f"There is no setting {', '.join(unknown)}.", "deploy/settings.yaml names every key.")
    try:
        settings = Settings(**given)
    except ValidationError as error:
        raise SettingsError(f"Settings are not valid: {faults(error)}.", "deploy/settings.yaml explains each key.") from None
    except pydantic_settings.SettingsError as error:
        raise SettingsError(f"An environment variable is not valid: {error}.", "A part of it: like AGENT__PROMPT.") from None
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise SettingsError(f"{FILE} is no YAML file of keys and values: {reason}.", "Correct it.") from None
    return settings.model_copy(update={"workspace": settings.workspace.expanduser().resolve()})


def _field(variable: str) -> str:
    """The setting that an environment variable names: SWITCHBOARD_AGENT__PROMPT is part of agent."""
    return variable.removeprefix(PREFIX).lower().partition("__")[0]
