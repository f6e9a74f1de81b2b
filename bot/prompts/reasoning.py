"""A streamed reply → what is shown of it, and the reasoning that is not: what stands between `<think>` and `</think>`.

However a reply is split into pieces, the same is shown and the same is kept. Text that cannot be the beginning of a tag
is shown at once; reasoning whose closing tag never comes is never shown, and a closing tag that nothing opened is left out.
Letters' case does not count, and `<thinking>` is the same tag. A base's chat template may have opened the reasoning itself:
a reply begins inside it then, with no tag of its own. Knows nothing of engines or journals.
"""

from __future__ import annotations

import dataclasses
import re

from bot.types import Piece

# The remote engine sends a prompt's tags with a zero-width space inside, and a model may write them like that.
_OPEN, _CLOSE, _TAG = (re.compile(f"<\u200b?{slash}think(?:ing)?>", re.ASCII | re.I) for slash in ("", "/", "/?"))
_TAGS = tuple(f"<{gap}{slash}{word}>" for gap in ("", "\u200b") for slash in ("", "/") for word in ("think", "thinking"))


class ReasoningFilter:
    """For one reply, which begins `inside` its reasoning or not. `reasoning` grows as pieces pass."""

    def __init__(self, inside: bool = False) -> None:
        self.reasoning = ""
        self._held = ""
        self._inside = inside
        self._reasoned = self._said = False

    def shown(self, piece: Piece) -> Piece | None:
        """`piece` with the text that may be shown now; None where there is nothing to pass on."""
        last = piece.finish_reason is not None
        text = self._split(self._held + piece.text, last)
        return dataclasses.replace(piece, text=text) if text or last else None

    def _split(self, text: str, last: bool) -> str:
        shown = ""
        while tag := (_CLOSE if self._inside else _TAG).search(text):
            shown += self._take(text[: tag.start()])
            text = text[tag.end() :]
            self._inside = not self._inside and not _CLOSE.fullmatch(tag[0])
            if self._inside and self._reasoned:
                self.reasoning += "\n"
            self._reasoned = True
        cut = len(text) if last else _sure(text)
        self._held = text[cut:]
        return shown + self._take(text[:cut])

    def _take(self, text: str) -> str:
        if self._inside:
            self.reasoning += text
            return ""
        if self._reasoned and not self._said:
            # What parted the reply from the reasoning before it.
            text = text.lstrip()
        self._said = self._said or bool(text.strip())
        return text


def reasoned(reply: str, inside: bool = False) -> str:
    """The reasoning that a whole reply began with, or began `inside` of, tags and what parts it from the rest included: what
    another reply would stand behind. "" where there is none; a tag that was never closed is."""
    opened = _OPEN.search(reply)
    if not opened and not inside:
        return ""
    start, within = (opened.start(), opened.end()) if opened and not inside else (0, 0)
    closed = list(_CLOSE.finditer(reply, within))
    if not closed:
        return f"{reply[start:].rstrip()}</think> "
    rest = reply[closed[-1].end() :]
    return reply[start : closed[-1].end()] + (rest[: len(rest) - len(rest.lstrip())] or " ")


def _sure(text: str) -> int:
    """Where the end of `text` could be the beginning of a tag; its length where it could not."""
    start = text.rfind("<")
    return start if start >= 0 and any(tag.startswith(text[start:].lower()) for tag in _TAGS) else len(text)
