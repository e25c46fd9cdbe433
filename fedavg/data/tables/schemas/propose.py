"""Proposals of a schema from the rows of a table, with a reason for every choice.

A proposal is derived from the rows, so a person has to declare it before it can be used under noise.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from fedavg.data.tables.cells import cells_of
from fedavg.data.tables.columns import Boolean, Category, Identifier, Ignored
from fedavg.data.tables.schemas.profile import Profile
from fedavg.data.tables.schemas.rules import (
    RULES,
    Guess,
    date_patterns,
    notation_advice,
    number_guess,
    signed_guess,
)
from fedavg.data.tables.schemas.schema import check_headings
from fedavg.errors import DataError

if TYPE_CHECKING:
    from fedavg.data.tables.columns.interface import Column
    from fedavg.data.tables.reading import Table
    from fedavg.data.tables.schemas.schema import Schema

__all__ = ["Finding", "Proposal", "propose"]

_MOST_CLASSES = 1000
_FEW_NUMBERS = 20  # up to this many different whole numbers may be classes as well as counts
_NAMES_CLIENTS = re.compile(
    r"(?:^|[\W_])(?:client|site|hospital|clinic|centre|center|bank|branch|shop|store|plant|device|state|region"
    r"|user|person|patient|member|carrier|silo)(?:$|[\W_])",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """The findings about one column.

    Args:
        heading: heading of the column.
        role: "target", "client", "group", "weight", or "" for a column that a model may read.
        column: the proposed kind; None for a column whose role needs no kind.
        examples: some of its texts.
        missing, distinct: numbers of missing cells and of different texts.
        why: reason of the proposal.
        advice: alternatives, and necessary changes.
        seen: smallest and largest number, if the cells are numbers.
        words_too_many: whether the column is left out because it has too many words for a vocabulary.
    """

    heading: str
    role: str
    column: Column | None
    examples: tuple[str, ...]
    missing: int
    distinct: int
    why: str
    advice: tuple[str, ...] = ()
    seen: tuple[float, float] | None = None
    words_too_many: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """A schema with its reasons.

    Args:
        schema: the proposed schema; its `declared` is false if any part was derived from the rows.
        findings: a finding for each column, in the order of the file.
        problems: questions to answer before anything can be trained.
        notes: notes about the file and the table as a whole.
        declared: whether every column was described beforehand.
    """

    schema: Schema
    findings: tuple[Finding, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    declared: bool = False

    def with_schema(self, schema: Schema) -> Proposal:
        """The same findings for a schema that was changed since; each finding shows its new column."""
        findings = tuple(
            replace(found, column=schema.columns.get(found.heading)) for found in self.findings
        )
        return replace(self, schema=schema, findings=findings)


def propose(table: Table, given: Schema) -> Proposal:
    """Propose a kind for each column that the given schema does not describe.

    Args:
        table: the table, as read.
        given: the known part of the schema; its columns are kept unchanged.

    Raises:
        DataError: the schema names a heading that the table does not have.

    Example:
        >>> from fedavg.data.tables.reading import table_of
        >>> from fedavg.data.tables.schemas.schema import Schema
        >>> cells = {"age": ["31", "54", "60"], "sick": ["no", "yes", "no"]}
        >>> table = table_of("t", {name: np.array(words) for name, words in cells.items()})
        >>> proposal = propose(table, Schema(target="sick"))
        >>> [(found.heading, found.why) for found in proposal.findings]
        [('age', 'whole numbers, 31 … 60'), ('sick', "no and yes as 'no' and 'yes'")]
    """
    check_headings(given, tuple(table.columns), table.name)
    problems: list[str] = []
    findings = [_finding(table, given, heading, problems) for heading in table.columns]
    if not given.targets:
        problems.append(
            f"say which column is predicted, [data] target: there are {', '.join(table.columns)}"
        )
    columns = {found.heading: found.column for found in findings if found.column is not None}
    # A proposal is declared only if the user described every column.
    complete = all(name in given.columns for name in columns)
    schema = msgspec.structs.replace(
        given,
        columns=columns,
        declared=given.declared and complete,
        file=table.file,
    )
    read = [found for found in findings if not found.role and found.column is not None]
    if read and not any(found.column and found.column.fields(found.heading) for found in read):
        problems.append("no column is left for a model to read: give one of them another kind")
    notes = list(table.notes)
    if not given.client:
        notes += _maybe_clients(findings, table.rows)
    return Proposal(schema, tuple(findings), tuple(problems), tuple(notes), complete)


def _maybe_clients(findings: list[Finding], rows: int) -> list[str]:
    """A hint at columns whose values several rows share, and which may say whose each row is.

    A column of identifiers is no input of a model, but it can be such a column.
    """
    shared = [found for found in findings if not found.role and 1 < found.distinct <= rows / 2]
    named = [
        found
        for found in shared
        if isinstance(found.column, Identifier) or _NAMES_CLIENTS.search(found.heading)
    ]
    if not named:
        return []
    # An identifier that several rows share is the likeliest client column.
    named.sort(key=lambda found: not isinstance(found.column, Identifier))
    said = " or ".join(
        f"{found.heading!r} ({found.distinct:,} values, about {rows / found.distinct:,.0f} rows each)"
        for found in named[:3]
    )
    first = named[0].heading
    hint = (
        f"if a column says whose row it is, such as {said}, name it: --client {first!r} on the command line, "
        f"or [data] client = {first!r}. Each of its values is then one client, and no model reads it"
    )
    return [hint]


def _finding(table: Table, given: Schema, heading: str, problems: list[str]) -> Finding:
    declared: Column | None = given.columns.get(heading)
    role = given.roles.get(heading, "")
    markers = (*given.markers, *(() if declared is None else declared.markers))
    try:
        cells = cells_of(table, heading, markers)
    except DataError as error:
        return Finding(heading, role, Ignored(), (), 0, 0, f"left out: {error}")
    profile = Profile(heading, cells)
    if declared is not None:
        guess = Guess(declared, "declared")
    elif role == "target":
        guess = _in_another_notation(profile, given, problems) or _target(profile, given, problems)
    elif role:
        said = "says whose row it is" if role == "client" else f"{role} of the rows"
        return Finding(
            heading, role, None, profile.examples, profile.missing, len(profile.words), said
        )
    else:
        # The first rule that applies decides, so special kinds come before general ones.
        guess = next(found for rule in RULES if (found := rule(profile)) is not None)
    there = profile.there if profile.numeric else np.zeros(0)
    other = "" if declared is not None or role else notation_advice(profile)
    advice = (other, *guess.advice) if other else guess.advice
    return Finding(
        heading=heading,
        role=role,
        column=guess.column,
        examples=profile.examples,
        missing=profile.missing,
        distinct=len(profile.words),
        why=guess.why,
        advice=advice,
        seen=(float(there.min()), float(there.max())) if len(there) else None,
        words_too_many=guess.words_too_many,
    )


def _in_another_notation(profile: Profile, given: Schema, problems: list[str]) -> Guess | None:
    """A target whose numbers the file writes in a way that it does not declare; None for any other."""
    other = "" if given.task == "classes" or profile.pair else notation_advice(profile)
    if not other:
        return None
    classes = "" if given.task == "numbers" else '; or say task = "classes" if they name classes'
    such = f"target {profile.heading!r}, such as {profile.words[0]!r}"
    problems.append(f"{such}: {other}{classes}")
    return Guess(Ignored(), "numbers in another notation")


def _target(profile: Profile, given: Schema, problems: list[str]) -> Guess:
    """Propose a kind for a target; numbers become classes only if the values or the task say so."""
    several, task = len(given.targets) > 1, given.task
    pair, words, heading = profile.pair, profile.in_order, profile.heading
    if len(words) < 2:
        problems.append(f"target {heading!r} has {len(words)} value, so that nothing can be learnt")
        return Guess(Ignored(), "one value")
    if pair and task != "numbers":
        return Guess(Boolean(values=pair), f"no and yes as {pair[0]!r} and {pair[1]!r}")
    if task == "numbers" or (profile.numeric and task == "auto" and (several or len(words) > 2)):
        return _numeric_target(profile, given, problems)
    if task == "auto" and (profile.cells.temporal or date_patterns(profile)):
        problems.append(
            f"target {heading!r} holds dates such as {words[0]!r}, and no task predicts a date: choose "
            'another target, such as a number of days, or say [data] task = "classes" if each date names one'
        )
        return Guess(Ignored(), "dates")
    if several:
        problems.append(
            f"target {heading!r} is neither a number nor no and yes, as one of several targets has to be"
        )
    # Classes need two examples on average, or nothing could be learnt about most of them.
    if len(words) > min(_MOST_CLASSES, max(2, profile.present // 2)):
        problems.append(
            f"target {heading!r} has {len(words):,} different values in {profile.present:,} rows, too many "
            f"for classes; {_instead(profile)}"
        )
        return Guess(Ignored(), "too many different values")
    return Guess(Category(categories=words), f"{len(words)} classes")


def _numeric_target(profile: Profile, given: Schema, problems: list[str]) -> Guess:
    words, heading = profile.in_order, profile.heading
    # Few whole numbers may be classes or counts, so the user is asked.
    ambiguous = (
        given.task == "auto"
        and len(given.targets) == 1
        and profile.whole
        and len(words) <= _FEW_NUMBERS
    )
    if ambiguous:
        problems.append(
            f"target {heading!r} has {len(words)} different whole numbers, {words[0]} … {words[-1]}: say "
            '[data] task = "classes" if these are names of classes, or task = "numbers" to predict the '
            "number"
        )
    if not len(profile.there):
        signed = signed_guess(profile, filled=False)
        if signed is not None:
            return Guess(signed.column, f"numbers are predicted as numbers: {signed.why}")
        problems.append(
            f"target {heading!r} holds no numbers but words such as {words[0]!r}: say [data] task = "
            '"classes", or leave the task out'
        )
        return Guess(Ignored(), "no numbers")
    guess = number_guess(profile, filled=False)
    return Guess(guess.column, f"numbers are predicted as numbers: {guess.why}", guess.advice)


def _instead(profile: Profile) -> str:
    """What to do about a target of too many words."""
    if profile.numeric or signed_guess(profile) is not None:
        return 'if it is a number, say [data] task = "numbers"'
    other = notation_advice(profile)
    if other:
        return f"if they are numbers, {other}"
    if profile.present == len(profile.words):
        return "no two rows share one, so that it identifies the row: choose another target"
    return "choose another target, or join its rare values before"
