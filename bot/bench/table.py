"""A report's rows as the table that README shows, and the places there that measurements fill.

Contract: `put(text, name, filling)` replaces what stands between the two marks of that name; tests hold that README shows
what the reports say.
"""

from __future__ import annotations

from typing import Any


def table(report: dict[str, Any]) -> str:
    """Markdown: the rows, and where, when and how they were measured."""
    lines = ["| | measured | value | target | |", "|---|---|---|---|---|"]
    for row in report["rows"]:
        value = "not measured" if row["value"] is None else f"{row['value']:.3g} {row['unit']}"
        mark = {True: "holds", False: "**missed**", None: ""}[row["holds"]]
        lines.append(f"| {row['id']} | {row['measure']} | {value} | {row['target'] or ''} | {mark} |")
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    dtype = f"{report['dtype']} throughout; " if "dtype" in report else ""
    told = f"{report['made'].partition('T')[0]}, {report['machine']}; {dtype}{versions}; `{report['command']}`."
    return "\n".join([*lines, "", told])


def put(text: str, name: str, filling: str) -> str:
    """`text` with the filling between the marks. Raises ValueError where they are not both there."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if not 0 <= text.find(begin) < text.find(end):
        raise ValueError(f"The text has no {begin} with {end} after it: put both back.")
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    return f"{before}{begin}\n{filling}\n{end}{after}"
