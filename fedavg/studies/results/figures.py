"""A study's pictures as Plotly figures in JSON-ready values, with the legends beside them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fedavg.studies.results.table import pareto_front

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fedavg.studies.results.table import Group

__all__ = ["Key", "Picture", "accuracy_by_bytes", "accuracy_by_epsilon", "front_of", "label_of"]

# Okabe and Ito (2008): distinguishable with every common colour blindness, on white and on near-black.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8F98")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross", "x")
_DASHES = ("solid", "dot", "longdash")
_GREY = "#8A8F98"
_PLAIN = (
    "secure_sum.kind",
    "data.name",
    "model.name",
    "data.partition",
    "server.optimizer",
    "robust.kind",
)
_SAID = {  # how the value of a setting is written, where its key would say less
    "privacy.noise": "{} noise",
    "privacy.epsilon": "epsilon {}",
    "records.epsilon": "epsilon {}",
    "rounds": "{} rounds",
    "steps": "{} steps",
    "records.clip": "clip {}",
    "records.clip_quantile": "clip follows quantile {}",
    "records.rate": "rate {}",
    "robust.groups": "{} groups",
} | dict.fromkeys(_PLAIN, "{}")
_ABSENT = {"privacy.noise": "no noise", "robust.kind": ""}  # what the value "none" says


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend."""

    label: str
    colour: str
    symbol: str | None
    dash: str | None


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure with its legend, the settings that it holds fixed, and whether it leaves groups out."""

    figure: dict[str, Any]
    legend: tuple[Key, ...]
    fixed: str = ""
    partial: bool = False


def label_of(settings: dict[str, Any]) -> str:
    """Some settings in a few words.

    Example:
        >>> label_of({"privacy.noise": "gaussian", "encoding.bits": 8, "local.lr": 0.5})
        'gaussian noise, 8 bits, local.lr 0.5'
    """
    parts = [_words(key, value) for key, value in settings.items() if value is not None]
    return ", ".join(part for part in parts if part) or "all cells"


def _words(key: str, value: object) -> str:
    if value == "none" and key in _ABSENT:
        return _ABSENT[key]
    if key == "encoding.bits":
        return f"{value} bits" if value else "bits chosen"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return _SAID[key].format(text) if key in _SAID else f"{key} {text}"


def front_of(groups: Sequence[Group]) -> set[int]:
    """Indices of the groups that no other beats in accuracy and epsilon; no bound counts as infinite."""
    return set(pareto_front([(group.told, group.worth) for group in groups]))


def accuracy_by_epsilon(groups: Sequence[Group]) -> Picture | None:
    """One line for each combination of the other settings; groups without an epsilon are level lines."""
    private = [group for group in groups if group.epsilon is not None]
    if not private:
        return None
    low, high = _ends(group.epsilon or 0.0 for group in private)
    form = private[0].form
    data: list[dict[str, Any]] = []
    legend: list[Key] = []
    best = [private[index] for index in sorted(front_of(private))]
    front: list[tuple[float, Group]] = []
    lines = _drawn(_by(private, form.strength))
    for index, line in enumerate(lines):
        line.sort(key=lambda group: group.epsilon or 0.0)
        shift = 1.025 ** (index - (len(lines) - 1) / 2)  # so that bars do not overlap
        x = [(group.epsilon or 0.0) * shift for group in line]
        key = _key(index, label_of(_less(line[0].settings, form.strength)))
        data.append(_line(line, x, key))
        legend.append(key)
        front += [(at, group) for at, group in zip(x, line, strict=True) if group in best]
    open_ = [group for group in groups if group.epsilon is None]
    # Runs without an epsilon have no place on the axis, so they are level lines.
    for index, group in enumerate(open_, start=len(lines)):
        key = _key(index, label_of(group.settings), level=True)
        data.append(_level(group, [low, high], key))
        legend.append(key)
    data.append(_front(front))
    ticks = sorted({float(f"{group.epsilon:.2g}") for group in private if group.epsilon})
    axis = {
        "title": {"text": f"{form.words.axis.heading} (logarithmic)"},
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": _apart(ticks),
        "ticktext": [f"{tick:g}" for tick in _apart(ticks)],
        "zeroline": False,
    }
    partial = sum(map(len, lines)) < len(private)
    return Picture(_figure(data, axis, groups), (*legend, _front_key()), partial=partial)


def _drawn(lines: list[list[Group]]) -> list[list[Group]]:
    """Leave out single points beside lines, since one epsilon shows no dependence on epsilon."""
    long = [line for line in lines if len({f"{group.epsilon:.2g}" for group in line}) > 1]
    return long or lines


def accuracy_by_bytes(groups: Sequence[Group]) -> Picture | None:
    """The cost of secure sums and bits, with all other settings at their commonest; None without two."""
    if not groups:
        return None
    traffic, words = groups[0].form.traffic, groups[0].form.words
    sets = _by(groups, traffic)
    best = max(sets, key=lambda part: (len(part), part[0].epsilon or 0.0), default=[])
    if len(best) < 2:
        return None
    best.sort(key=lambda group: group.bytes_up)
    data: list[dict[str, Any]] = []
    legend: list[Key] = []
    places = _separated([group.bytes_up for group in best])
    for index, (place, group) in enumerate(zip(places, best, strict=True)):
        chosen = {k: value for k, value in group.settings.items() if k.startswith(traffic)}
        key = _key(index, label_of(chosen), line=False)
        data.append(_line([group], [place], key))
        legend.append(key)
    # Means of equal counts may differ in their last bit; the page prints tens of bytes.
    front = pareto_front([(round(group.bytes_up, -1), group.worth) for group in best])
    data.append(_front([(places[index], best[index]) for index in front]))
    low, high = _ends(places)
    ticks = _decade_ticks(low, high)
    axis = {
        "title": {"text": f"Sent by a {words.party} in a {words.exchange} (logarithmic)"},
        "type": "log",
        "range": [math.log10(low), math.log10(high)],
        "tickvals": ticks,
        "ticktext": [f"{tick / 1000:g} kB" for tick in ticks],
        "zeroline": False,
    }
    fixed = label_of(_less(best[0].settings, traffic))
    return Picture(_figure(data, axis, best), (*legend, _front_key()), fixed)


def _by(groups: Iterable[Group], left_out: tuple[str, ...]) -> list[list[Group]]:
    """Groups that agree in all settings except some."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(repr(_less(group.settings, left_out)), []).append(group)
    return list(found.values())


def _less(settings: dict[str, Any], left_out: tuple[str, ...]) -> dict[str, Any]:
    """The settings without those whose keys begin with one of these."""
    return {key: value for key, value in settings.items() if not key.startswith(left_out)}


def _ends(values: Iterable[float]) -> tuple[float, float]:
    known = [value for value in values if value > 0] or [1.0]
    low, high = min(known), max(known)
    room = max((high / low) ** 0.06, 1.08)
    return low / room, high * room


def _separated(values: Sequence[float]) -> list[float]:
    """Rising values; a value that would overlap its neighbour is moved by two hundredths."""
    places: list[float] = []
    for value in values:
        places.append(max(value, 1.02 * places[-1]) if places else value)
    # Values that would overlap are moved, and the tables have the exact ones.
    return places


def _apart(ticks: Sequence[float]) -> list[float]:
    """Ticks at least a quarter apart, so that their labels do not overlap."""
    kept: list[float] = []
    for tick in ticks:
        if not kept or tick >= 1.25 * kept[-1]:
            kept.append(tick)
    return kept


def _decade_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 200 else (1,)
    ticks = [step * 10.0**decade for decade in decades for step in steps]
    return [tick for tick in ticks if low <= tick <= high]


def _key(index: int, label: str, *, level: bool = False, line: bool = True) -> Key:
    colour = _COLOURS[index % len(_COLOURS)]
    if level:
        return Key(label, colour, None, "dash")
    dash = _DASHES[index // len(_COLOURS) % len(_DASHES)] if line else None
    return Key(label, colour, _SYMBOLS[index % len(_SYMBOLS)], dash)


def _front_key() -> Key:
    return Key("on the Pareto front", _GREY, "circle-open", None)


def _line(groups: Sequence[Group], x: Sequence[float], key: Key) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines+markers" if len(groups) > 1 else "markers",
        "name": key.label,
        "x": [float(f"{value:.5g}") for value in x],
        "y": [group.score for group in groups],
        "error_y": {
            "type": "data",
            "symmetric": False,
            "array": [max(group.scores) - group.score for group in groups],
            "arrayminus": [group.score - min(group.scores) for group in groups],
            "thickness": 1.5,
            "width": 4,
        },
        "line": {"color": key.colour, "width": 2, "dash": key.dash or "solid"},
        "marker": {"size": 8, "symbol": key.symbol, "color": key.colour},
        "text": [_hover(group) for group in groups],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _level(group: Group, x: Sequence[float], key: Key) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": key.label,
        "x": list(x),
        "y": [group.score] * len(x),
        "line": {"color": key.colour, "width": 2, "dash": "dash"},
        "text": [_hover(group)] * len(x),
        "hovertemplate": "%{text}<extra></extra>",
    }


def _front(points: Sequence[tuple[float, Group]]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": "Pareto front",
        "x": [float(f"{place:.5g}") for place, _ in points],
        "y": [group.score for _, group in points],
        "marker": {
            "size": 17,
            "symbol": "circle-open",
            "color": _GREY,
            "line": {"width": 2, "color": _GREY},
        },
        "hoverinfo": "skip",
    }


def _hover(group: Group) -> str:
    epsilon = "no bound" if group.epsilon is None else f"{group.epsilon:.3g}"
    return (
        f"{label_of(group.settings)}<br>{group.by.name} {group.by.text(group.score)}, "
        f"{group.spread}, n = {len(group.rows)}"
        f"<br>epsilon {epsilon}, {group.bytes_up / 1000:.2f} kB up"
    )


def _figure(
    data: list[dict[str, Any]], axis: dict[str, Any], groups: Sequence[Group]
) -> dict[str, Any]:
    low = min(min(group.scores) for group in groups)
    high = max(max(group.scores) for group in groups)
    by = groups[0].by
    room = max(0.06 * (high - low), 0.005 if by.share else 0.005 * abs(high) + 1e-9)
    layout = {
        "height": 420,
        "margin": {"l": 62, "r": 16, "t": 10, "b": 48},
        "dragmode": False,
        "hovermode": "closest",
        "showlegend": False,
        "xaxis": axis,
        "yaxis": {
            "title": {"text": by.name},
            "range": [low - room, high + room],
            "zeroline": False,
        }
        | ({"tickformat": ".0%" if high - low > 0.06 else ".1%"} if by.share else {}),
        "shapes": [],
    }
    return {"data": data, "layout": layout}
