"""Reports as one HTML page each: a template beside its code, in the frame that all of them share (`page.html.jinja`).

Whatever text is put in is escaped. A page runs nothing and loads nothing, and says so to the browser itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
"""What a report may do in a browser: be looked at."""


def render(template: Path, **values: Any) -> str:
    """The page of `template`, which may extend the frame and include what lies beside it."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    pages = Environment(
        loader=FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    return pages.get_template(template.name).render(policy=POLICY, **values)
