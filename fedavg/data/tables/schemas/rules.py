"""The rules that propose a kind for a column without a description; the first rule that applies decides.

A new rule is a function of a `Profile`, with an entry in `RULES`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from fedavg.data.tables.cells import LARGEST
from fedavg.data.tables.columns import Boolean, Category, Date, Identifier, Ignored, Number, Text
from fedavg.data.tables.columns.category import bucket_of, listed
from fedavg.data.tables.columns.date import ISO
from fedavg.data.tables.files import file_advice
from fedavg.parts.nearest import alike

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from fedavg.data.tables.columns.interface import Column
    from fedavg.data.tables.schemas.profile import Profile

__all__ = ["RULES", "Guess", "date_patterns", "notation_advice", "number_guess", "signed_guess"]

_SIGNS = ("%", "$", "€", "£")

_MOST_WORDS = 100  # largest vocabulary of a category; each word becomes an input
_DATE_SHARE = 0.9  # share of the cells that have to be dates in a column of dates
_PLACEHOLDERS = frozenset(
    {
        *(
            "-",
            "- -",
            "--",
            "---",
            ".",
            "..",
            "…",
            "unknown",
            "unk",
            "none",
            "missing",
            "(missing)",
            "nil",
        ),
        *(
            "nm",
            "nr",
            "nd",
            "tbd",
            "not available",
            "no data",
            "not known",
            "not reported",
            "(null)",
        ),
        *("<na>", "-nan", "inf", "-inf", "#div/0!", "#value!", "#ref!", "#null!"),
    }
)
_CLOCK = ("%H:%M:%S", "%H:%M")
_PATTERNS = (
    *(
        "%d/%m/%Y",
        "%m/%d/%Y",
        "%d.%m.%Y",
        "%d-%m-%Y",
        "%m-%d-%Y",
        "%Y/%m/%d",
        "%d/%m/%y",
        "%m/%d/%y",
    ),
    *("%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y", "%b-%Y", "%b %Y", "%Y-%m"),
    *(
        "%d/%m/%Y %H:%M",
        "%m/%d/%Y %H:%M",
        "%d/%m/%Y %H:%M:%S",
        "%m/%d/%Y %H:%M:%S",
        "%d.%m.%Y %H:%M",
    ),
    *_CLOCK,
)


@dataclass(frozen=True, slots=True)
class Guess:
    """The proposed kind of a column, the reason, and alternatives."""

    column: Column
    why: str
    advice: tuple[str, ...] = ()
    words_too_many: bool = False


def _empty(profile: Profile) -> Guess | None:
    if not profile.present:
        return Guess(Ignored(), "left out: no cell holds anything")
    # A column with one value is left out, unless missing cells make it vary.
    if len(profile.words) > 1:
        return None
    word = next(iter(profile.words))
    if not profile.missing:
        return Guess(Ignored(), f"left out: every cell holds {word!r}")
    return Guess(Category(categories=(word,)), f"{word!r}, or missing")


def _boolean(profile: Profile) -> Guess | None:
    if profile.pair is None:
        return None
    no, yes = profile.pair
    column = Boolean()
    if profile.missing:
        column = Boolean(missing="most_frequent", indicator=True)
    return Guess(column, f"no and yes as {no!r} and {yes!r}")


def _numeric(profile: Profile) -> Guess | None:
    if not profile.numeric:
        return _signed(profile)
    unique = len(np.unique(profile.there)) == profile.present
    # With fewer than twenty rows such an order may be a coincidence.
    if profile.whole and unique and profile.present >= 20:
        ranked = np.sort(profile.there)
        # Consecutive numbers from 0 or 1 count the rows.
        if bool((np.diff(ranked) == 1).all()) and ranked[0] in (0, 1):
            return Guess(Identifier(), "left out: numbers the rows")
    if profile.whole and profile.names_rows and not profile.odd:
        return _identifier(profile)
    return number_guess(profile)


def number_guess(profile: Profile, strip: str = "", *, filled: bool = True) -> Guess:
    """Propose a column of numbers; the reason states their range.

    Args:
        profile: profile of the column.
        strip: characters to remove from both ends of a cell.
        filled: whether missing cells are filled; False for numbers to predict.
    """
    values = profile.cells.numbers(strip)
    there = values[np.isfinite(values)]
    low, high = float(there.min()), float(there.max())
    whole = bool((there == np.floor(there)).all())
    odd = () if strip else profile.odd
    markers = tuple(word for word in odd if word.lower() in _PLACEHOLDERS)
    advice = list(_odd_advice(profile, [word for word in odd if word not in markers]))
    why = f"{'whole numbers' if whole else 'numbers'}, {low:,.6g} … {high:,.6g}"
    if markers:
        why += f"; {listed(markers)} taken for missing"
    advice += _number_advice(profile, there, whole=whole)
    missing = filled and (profile.missing > 0 or bool(markers))
    return Guess(
        Number(
            markers=markers,
            strip=strip,
            unit=strip if strip == "%" else "",
            missing="median" if missing else "auto",
            indicator=missing,
        ),
        why,
        tuple(advice),
    )


def _odd_advice(profile: Profile, odd: list[str]) -> list[str]:
    codes, words = profile.coded_words
    said: list[str] = []
    for word in odd[:3]:
        rows = np.flatnonzero(codes == words.index(word))
        more = f" and {len(rows) - 1:,} more" if len(rows) > 1 else ""
        said.append(
            f"{word!r} in row {rows[0] + 1:,}{more} is no number: correct it, or, if it stands for a missing "
            f"cell, give the column markers = [{json.dumps(word, ensure_ascii=False)}] in the schema"
        )
    if len(odd) > 3:
        said.append(f"{len(odd) - 3} more texts are no numbers")
    return said


def _number_advice(profile: Profile, there: NDArray[np.float64], *, whole: bool) -> list[str]:
    said: list[str] = []
    distinct = len(profile.words)
    # A small number of different whole numbers may be codes, so the alternative is named.
    if whole and 2 < distinct <= 10 and profile.present >= 5 * distinct:
        words = ", ".join(f'"{word}"' for word in profile.in_order)
        said.append(
            f'{distinct} whole numbers; if these are codes: kind = "category", categories = [{words}]'
        )
    q50, q75, q99 = np.quantile(there, [0.5, 0.75, 0.99])
    q25 = np.quantile(there, 0.25)
    low, high = there.min(), there.max()
    # A value fifty quartile ranges away would press all others together at unit scale.
    if high > q75 + 50 * (q75 - q25) > q75 or low < q25 - 50 * (q75 - q25) < q25:
        far = high if high - q50 > q50 - low else low
        said.append(
            f"{far:,.6g} lies far from all others (99 % are at most {q99:,.6g}): give bounds, or log = true"
        )
    lowest = np.unique(there)[:2]
    # These numbers are usual marks of missing cells.
    if len(lowest) == 2 and lowest[0] in (-1, -9, -99, -999, -9999) and lowest[1] >= 0:
        said.append(
            f'{lowest[0]:g} is the only negative number: if it means missing, markers = ["{lowest[0]:g}"]'
        )
    return said


def _enormous(profile: Profile) -> Guess | None:
    """Leave out numbers that do not fit in 32 bits, instead of reading them as words."""
    if profile.cells.temporal or profile.cells.boolean:
        return None
    try:
        values = np.array(profile.words, np.float64)
    except ValueError:
        return None
    if not bool((np.abs(values) > LARGEST).any()):
        return None
    return Guess(
        Ignored(),
        f"left out: numbers beyond ±{LARGEST:g}, which a model cannot read",
        ("divide them in the file, or take their logarithm",),
    )


def signed_guess(profile: Profile, *, filled: bool = True) -> Guess | None:
    """Numbers with a sign before or after them, such as 12 % or $ 5; None for any other column."""
    for strip in _signs(profile):
        values = profile.cells.numbers(strip)
        if np.count_nonzero(np.isfinite(values)) == profile.present:
            guess = number_guess(profile, strip, filled=filled)
            return Guess(guess.column, f"{guess.why}, without {strip!r}", guess.advice)
    return None


def notation_advice(profile: Profile) -> str:
    """What to declare where nearly all cells are numbers in another notation, also behind a sign; or ""."""
    other = profile.cells.notation()
    if other is not None:
        return file_advice(other)
    for strip in _signs(profile):
        other = profile.cells.notation(strip)
        if other is not None:
            column = (
                f'[data.columns.{json.dumps(profile.heading)}] kind = "number", strip = "{strip}"'
            )
            return f"{file_advice(other)}, and {column}"
    return ""


def _signs(profile: Profile) -> tuple[str, ...]:
    cells = profile.cells
    if cells.numeric or cells.temporal or cells.boolean:
        return ()
    return tuple(sign for sign in _SIGNS if any(sign in word for word in profile.examples))


def _signed(profile: Profile) -> Guess | None:
    found = signed_guess(profile)
    # Such amounts rarely repeat, so a later rule would take them for the names of rows.
    if found is None and _signs(profile) and notation_advice(profile):
        return Guess(Ignored(), "left out: numbers behind a sign, in another notation")
    return found


def _date(profile: Profile) -> Guess | None:
    fits = [ISO] if profile.cells.temporal else date_patterns(profile)
    if not fits:
        return None
    # Day and month are not guessed, because a wrong guess would go unnoticed.
    if len(fits) > 1:
        return Guess(
            Ignored(),
            "left out: dates in which day and month cannot be told apart",
            (f'kind = "date", pattern = one of {", ".join(map(repr, fits))}',),
        )
    moments = profile.cells.moments(fits[0])
    there = moments[np.isfinite(moments)]
    if fits[0] in _CLOCK:
        return Guess(Date(parts=("hour",), pattern=fits[0]), "times of the day, as hour")
    timed = bool((there % 1 != 0).any())
    # Dates that are all the first of a month have no weekday worth reading.
    first = bool((_days_of_month(there) == 1).all())
    parts = ["days", "month", *([] if first else ["weekday"]), *(["hour"] if timed else [])]
    begin, end = (str(_day(value)) for value in (there.min(), there.max()))
    column = msgspec.convert({"parts": parts, "pattern": fits[0]}, Date)
    if profile.missing:
        column = msgspec.structs.replace(column, missing="median", indicator=True)
    return Guess(column, f"dates, {begin} … {end}, as {', '.join(parts)}")


def date_patterns(profile: Profile) -> list[str]:
    """The patterns that every cell matches, or nearly every one."""
    if (
        profile.cells.numeric
        or profile.cells.boolean
        or not any(c.isdigit() for c in profile.words[0])
    ):
        return []
    # A sample decides quickly which patterns cannot fit.
    some = profile.cells.take(_spread(profile))
    found: list[str] = []
    for pattern in (ISO, *_PATTERNS):
        if np.isnan(some.moments(pattern)).mean() > 2 * (1 - _DATE_SHARE):
            continue
        share = np.count_nonzero(np.isfinite(profile.cells.moments(pattern))) / profile.present
        if share >= _DATE_SHARE:
            found.append(pattern)
        if share == 1 and pattern == ISO:
            return found
    best = [p for p in found if np.isfinite(profile.cells.moments(p)).sum() == profile.present]
    return best or found[:1]


def _spread(profile: Profile) -> NDArray[np.int64]:
    rows = np.flatnonzero(~profile.cells.missing)
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), 50)).astype(np.int64)]


def _day(moment: float) -> np.datetime64:
    return np.datetime64(int(np.floor(moment)), "D")


def _days_of_month(moments: NDArray[np.float64]) -> NDArray[np.int64]:
    days = np.floor(moments).astype(np.int64).astype("datetime64[D]")
    return (days - days.astype("datetime64[M]")).astype(np.int64) + 1


def _category(profile: Profile) -> Guess | None:
    words = profile.in_order
    # Each word becomes an input, so a category has few words, each with several examples.
    few = len(words) <= _MOST_WORDS and profile.present >= 5 * len(words)
    if not few and not (len(words) <= 10 and profile.present >= 2 * len(words)):
        return None
    # A heading such as "id" speaks against a category with many words.
    if profile.names_rows and len(words) > 10:
        return None
    advice: list[str] = []
    same = alike(words)
    if same:
        advice.append(f"{listed(same[0])} differ in upper and lower case or blanks only")
    return Guess(Category(categories=words), f"{len(words)} words", tuple(advice))


def _identifier(profile: Profile) -> Guess:
    if len(profile.words) == profile.present:
        return Guess(Identifier(), "left out: identifies the row, no two are alike")
    shared = (
        "no model reads it, but several rows share each value: it can say whose row it is (client = "
        f"{profile.heading!r}), or which rows are held out together (group = {profile.heading!r})"
    )
    return Guess(Identifier(), "left out: identifies something by its name", (shared,))


def _many_words(profile: Profile) -> Guess:
    """The remaining columns: identifiers, sentences, and words that are too many for a vocabulary."""
    distinct, present = len(profile.words), profile.present
    # Two hundred words are enough to tell sentences from names.
    sample = profile.words[:: max(1, distinct // 200)]
    spaces = np.mean([word.count(" ") for word in sample])
    if (distinct == present and spaces < 1) or profile.names_rows:
        return _identifier(profile)
    if spaces >= 3:
        return Guess(
            Text(),
            f"left out: sentences, {distinct:,} different ones",
            ("to read its words: buckets = 256, each word hashed into one of them",),
        )
    ranked = np.sort(profile.counts)[::-1]
    covered = ranked[:_MOST_WORDS].sum() / present
    commonest = min(distinct, _MOST_WORDS)
    shared = np.bincount([bucket_of(word, 64) for word in profile.words], minlength=64)
    sharing = int(shared[shared > 1].sum())
    return Guess(
        Text(),
        f"left out: {distinct:,} different words are too many for a vocabulary",
        (
            f'kind = "category" with the {commonest} commonest words would cover {covered:.0%} of the rows',
            f'kind = "category", buckets = 64 would hash them: {sharing:,} words would share a bucket',
        ),
        words_too_many=True,
    )


RULES: tuple[Callable[[Profile], Guess | None], ...] = (
    _empty,
    _boolean,
    _numeric,
    _enormous,
    _date,
    _category,
    _many_words,
)
