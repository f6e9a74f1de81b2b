"""A report's rows as the table that README shows.

Contract: `put_table(text, report)` replaces what stands between the two marks; a test holds that README's table is the
report's.
"""

from __future__ import annotations

from typing import Any

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def table(report: dict[str, Any]) -> str:
    """Markdown: the rows, and where, when and how they were measured."""
    lines = ["| | measured | value | target | |", "|---|---|---|---|---|"]
    for row in report["rows"]:
        value = "not measured" if row["value"] is None else f"{row['value']:.3g} {row['unit']}"
        mark = {True: "holds", False: "**missed**", None: ""}[row["holds"]]
        lines.append(f"| {row['id']} | {row['measure']} | {value} | {row['target'] or ''} | {mark} |")
    versions = ", ".join(f"{name} {number}" for name, number in report["versions"].items())
    told = f"{report['made'][:10]}, {report['machine']}; {report['dtype']} throughout; {versions}; `{report['command']}`."
    return "\n".join([*lines, "", told])


def put_table(text: str, report: dict[str, Any]) -> str:
    """`text` with the report's table between the marks. Raises ValueError where they are not both there."""
    if not 0 <= text.find(BEGIN) < text.find(END):
        raise ValueError(f"The text has no {BEGIN} with {END} after it: put both back.")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table(report)}\n{END}{after}"
