"""A proposal as a TOML file to read and complete, with the reason of every choice as a comment."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING, Any

import msgspec
import tomli_w

if TYPE_CHECKING:
    from fedavg.data.tables.schemas.propose import Finding, Proposal
    from fedavg.data.tables.schemas.schema import Schema

__all__ = ["FOR_NOISE", "TO_COMPLETE", "schema_text"]

TO_COMPLETE = "TO COMPLETE"
"""The mark of what the user has to declare."""

_WIDTH = 100
_NOTHING = 1e-300  # numbers nearer to 0 have fewer digits
_ALIKE = 1e-9  # numbers that differ by a smaller share of themselves are as good as one
FOR_NOISE = "Under noise everything here is public"
"""The beginning of the note at the top of a schema for runs under noise."""
_PUBLIC = f"""
{FOR_NOISE}: it must come from a form, a standard or a decision, not from the rows.
What follows was read off the rows. Complete it, replace what only the rows can tell, and set declared = true.
"""


def schema_text(proposal: Proposal, *, private: bool) -> str:
    """The text of a schema file.

    Args:
        proposal: the proposal to write.
        private: whether the file is for a run under noise, so that bounds have to be declared.

    Returns:
        TOML that `read_schema` reads back as the proposal's schema; if `private`, once it is completed.
    """
    schema = proposal.schema
    lines = _comment("Schema of a table: what each column is. `fedavg data schema` proposed it.")
    for note in proposal.notes:
        lines += _comment(note)
    if private:
        lines += ["#", *_comment(_PUBLIC.strip())]
    for problem in proposal.problems:
        lines += _comment(f"TO ANSWER: {problem}")
    lines += ["", *_top(schema, private=private)]
    for found in proposal.findings:
        if found.column is not None:
            lines += ["", *_column(found, private=private)]
        else:
            lines += ["", *_comment(f"{found.heading}: {found.why}")]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> list[str]:
    lines: list[str] = []
    # A heading may hold control characters, which TOML comments do not allow.
    printable = "".join(sign if sign.isprintable() or sign == "\n" else "�" for sign in text)
    for paragraph in printable.split("\n"):
        lines += textwrap.wrap(
            paragraph, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False
        )
    return lines


def _top(schema: Schema, *, private: bool) -> list[str]:
    target: Any = schema.target if isinstance(schema.target, str) else list(schema.target)
    lines = [f"target = {_value(target)}  # what is predicted"]
    if not schema.target:
        lines = ['target = ""  # name the column that is predicted']
    if schema.client:
        lines.append(f"client = {_value(schema.client)}  # whose row it is")
    else:
        lines.append('# client = "…"  # the column that says whose row it is')
    lines += [f"group = {_value(schema.group)}"] if schema.group else []
    lines += [f"weight = {_value(schema.weight)}"] if schema.weight else []
    lines += [f"time = {_value(schema.time)}"] if schema.time else []
    lines += [f"task = {_value(schema.task)}"] if schema.task != "auto" else []
    # What was read off the rows is not public until somebody says so.
    declared = schema.declared and not private
    lines.append(
        f"declared = {_value(declared)}  # true: all of this is public, and not read off the rows"
    )
    lines.append(f"markers = {_value(list(schema.markers))}  # cells that are missing")
    file = {key: value for key, value in msgspec.to_builtins(schema.file).items() if value}
    lines += ["", "[file]", *(f"{key} = {_value(value)}" for key, value in file.items())]
    return lines


def _column(found: Finding, *, private: bool) -> list[str]:
    raw: dict[str, Any] = msgspec.to_builtins(found.column)
    default = msgspec.to_builtins(type(found.column)(**_needed(raw)))
    shown = {
        key: value
        for key, value in raw.items()
        if key == "kind" or value != default.get(key) or key in ("categories", "parts")
    }
    # Under noise no statistic of the rows may fill a cell.
    if private and shown.get("missing") in ("mean", "median", "most_frequent"):
        shown["missing"] = "auto"
    counts = f"{found.distinct:,} different, {found.missing:,} missing"
    lines = _comment(f"{found.why} ({counts}); such as {', '.join(map(repr, found.examples))}")
    for advice in found.advice:
        lines += _comment(f"- {advice}")
    role = f"  # {found.role}" if found.role else ""
    lines.append(f"[columns.{_key(found.heading)}]{role}")
    lines += [f"{key} = {_value(value)}" for key, value in shown.items() if value not in (None, [])]
    undeclared = found.column.undeclared() if found.column is not None else ""
    if private and undeclared:
        lines += _to_complete(found, undeclared)
    return lines


def _needed(raw: dict[str, Any]) -> dict[str, Any]:
    """The keys that this kind of column requires, so that an example can show the defaults of the others."""
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in raw.items()
        if key in ("categories", "buckets") and value
    }


def _to_complete(found: Finding, what: str) -> list[str]:
    if found.seen is None:
        return [
            f'# {what} = ["2000-01-01", "2030-12-31"]  # {TO_COMPLETE}: first and last possible day'
        ]
    low, high = found.seen
    suggestion = _value(list(_suggested(low, high)))
    said = f"{TO_COMPLETE}: what is possible; the rows hold {low:g} … {high:g}"
    return [f"# {what} = {suggestion}  # {said}"]


def _suggested(low: float, high: float) -> tuple[float, float]:
    """Bounds around the numbers of the rows, rounded outwards, so that they seldom repeat the extremes.

    Numbers that are far from 0, such as years, get bounds near themselves: between 0 and 3000 they would be
    an input that hardly changes.
    """
    spread, nearest = high - low, min(abs(low), abs(high))
    if low * high <= 0 or nearest <= spread or spread < _ALIKE * nearest:
        first, last = _outwards(low, down=True), _outwards(high, down=False)
        return (first, last) if first < last else (first, first + (abs(first) or 1.0))
    unit = 10.0 ** math.floor(math.log10(spread / 2))
    step = next(times * unit for times in (1, 2, 5, 10, 20) if times * unit >= spread / 2)
    first, last = math.floor(low / step), math.ceil(high / step)
    return float(f"{first * step:.12g}"), float(f"{last * step:.12g}")


def _outwards(value: float, *, down: bool) -> float:
    """The next number with one significant digit, below or above."""
    if not value or (down and value > 0):
        return 0.0
    if abs(value) < _NOTHING:
        return math.copysign(_NOTHING, value) if down is (value < 0) else 0.0
    unit = 10.0 ** math.floor(math.log10(abs(value)))
    return float((math.floor if down else math.ceil)(value / unit)) * unit


def _value(value: object) -> str:
    """One value in TOML, on one line."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    return tomli_w.dumps({"x": value}).removeprefix("x = ").removesuffix("\n")


def _key(heading: str) -> str:
    return tomli_w.dumps({heading: 0}).removesuffix(" = 0\n")
