"""What event handlers share: errors in words, and the queue's limits."""

from __future__ import annotations

import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from bot.errors import BotError
from bot.web.auth import Person

P = ParamSpec("P")
R = TypeVar("R")
log = logging.getLogger("bot.pages")

MAX_WAITING = 64
"""Events that may wait on one page; a further one is refused with a line."""
AT_ONCE = 16
"""Events of one kind at work at the same time. How many replies are made at once is the engine's own business."""
QUIET: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
"""For every listener: not part of the API, and no spinner over what is being read."""
DESK = "the desk"
Update = dict[Any, Any]
"""What a handler changes: components with their new values."""
OURS = "Something went wrong on our side. Nothing you wrote is lost; please try again."


def in_words(error: Exception) -> str:
    """What a person is told. An error that is not ours is logged and not shown."""
    if isinstance(error, BotError):
        return str(error)
    log.error("A handler failed", exc_info=error)
    return OURS


def signature(person: Person) -> str:
    """Who did it, as records and versions name them: the user, or the desk where nobody has to sign in."""
    return person.name or DESK


def spoken(handler: Callable[P, Awaitable[R]]) -> Callable[P, Awaitable[R]]:
    """The handler with its errors as a notice; what the page shows stays as it is."""

    @functools.wraps(handler)
    async def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return await handler(*args, **kwargs)
        except gr.Error:
            raise
        except Exception as error:
            raise gr.Error(in_words(error), title="That did not work", print_exception=False) from None

    return wrapped


def open_queue(blocks: gr.Blocks) -> gr.Blocks:
    blocks.queue(api_open=False, max_size=MAX_WAITING, default_concurrency_limit=AT_ONCE)
    return blocks


def open_form(page: Any, is_open: bool) -> dict[Any, Any]:
    """Send where a message may go out, Stop while a reply is under way."""
    return {page.send_button: gr.update(visible=is_open), page.stop_button: gr.update(visible=not is_open)}


def stop_first(event: Callable[..., Any], runs: list[Any]) -> None:
    """An event, such as a button's click, ends `runs` on the server. Comes before its other listeners: a page calls them in
    turn, and one that waits for the end of a reply would hold the order to end it back."""
    event(None, None, None, cancels=runs, queue=False, **QUIET)
