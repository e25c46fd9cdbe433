"""A proposed schema as a table for people: one row a column, with examples and the reason."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from fedavg.data.tables.schemas.propose import Finding, Proposal

__all__ = ["advice_lines", "schema_table"]


def schema_table(proposal: Proposal, title: str) -> Table:
    """The proposal as a table for the console.

    Args:
        proposal: the proposed schema.
        title: title above the table.
    """
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("column", style="bold", overflow="fold", max_width=28)
    table.add_column("type", no_wrap=True)
    table.add_column("missing", justify="right", no_wrap=True)
    table.add_column("distinct", justify="right", no_wrap=True)
    table.add_column("examples", overflow="fold", max_width=32)
    table.add_column("why", overflow="fold")
    for found in proposal.findings:
        table.add_row(
            Text(found.heading),
            Text(_kind(found), style=_STYLES.get(found.role, "")),
            f"{found.missing:,}" if found.missing else "",
            f"{found.distinct:,}",
            Text(", ".join(found.examples)),
            Text(found.why),
        )
    return table


_STYLES = {"target": "bold green", "client": "bold cyan", "group": "cyan", "weight": "cyan"}


def _kind(found: Finding) -> str:
    tag = "" if found.column is None else str(found.column.__struct_config__.tag)  # type: ignore[attr-defined]
    return f"{found.role}: {tag}" if found.role and tag else found.role or tag


def advice_lines(proposal: Proposal) -> list[str]:
    """Further possible or necessary steps, one sentence a line."""
    lines = [f"To answer: {problem}" for problem in proposal.problems]
    for found in proposal.findings:
        lines += [f"{found.heading}: {advice}" for advice in found.advice]
    return lines
