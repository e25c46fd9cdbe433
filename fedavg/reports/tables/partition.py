"""The data of each client in a simulation: examples by client and class, as one offline page."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fedavg.errors import ReportError
from fedavg.files import replace_file
from fedavg.reports.figures import BLUE, figure
from fedavg.reports.page import payload, render_page

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["Partition", "facts", "holdings", "write_partition_page"]

_MOST_ROWS = 200  # largest number of rows in the table
_NAMED = 6  # largest number of labels that are listed
_LONGEST = 24  # longest name on an axis


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """The content of the page.

    Args:
        title: title of the data.
        scheme: how the examples are divided among the clients.
        counts: int64[K, clients], from `holdings`.
        classes: K names, of classes or of ranges of a number.
        clients: names of the clients.
    """

    title: str
    scheme: str
    counts: NDArray[np.int64]
    classes: tuple[str, ...]
    clients: tuple[str, ...]


def holdings(
    labels: NDArray[np.int64], pieces: Sequence[NDArray[np.int64]], num_classes: int
) -> NDArray[np.int64]:
    """Count examples by class and client.

    Args:
        labels: int64[n].
        pieces: each client's indices.
        num_classes: K.

    Returns:
        int64[K, clients].

    Example:
        >>> holdings(np.array([0, 1, 1]), [np.array([0, 1]), np.array([2])], 2).tolist()
        [[1, 0], [1, 1]]
    """
    owner = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
    cell = labels[np.concatenate(pieces)] * len(pieces) + owner
    return np.bincount(cell, minlength=num_classes * len(pieces)).reshape(num_classes, -1)


def facts(partition: Partition) -> list[tuple[str, str]]:
    """The partition in a few lines: sizes, labels, and the smallest and the largest client.

    Args:
        partition: content of the page.

    Example:
        >>> counts = np.array([[3, 0], [1, 2]])
        >>> facts(Partition("t", "iid", counts, ("no", "yes"), ("a", "b")))[1]
        ('examples to train on', '6')
    """
    totals = partition.counts.sum(axis=0)
    held = (partition.counts > 0).sum(axis=0)
    shares = partition.counts.sum(axis=1) / max(int(totals.sum()), 1)
    labels = [
        f"{_short(name)} {share:.0%}"
        for name, share in zip(partition.classes[:_NAMED], shares, strict=False)
    ]
    more = len(partition.classes) - len(labels)
    few, many = int(totals.argmin()), int(totals.argmax())
    return [
        ("clients", f"{len(totals):,}, {partition.scheme}"),
        ("examples to train on", f"{int(totals.sum()):,}"),
        ("labels", ", ".join(labels) + (f" and {more} more" if more else "")),
        (
            "smallest client",
            f"{_short(partition.clients[few])}: {_counted(totals[few], 'example')}",
        ),
        (
            "median client",
            f"{_counted(np.median(totals), 'example')}, {_counted(np.median(held), 'label')}",
        ),
        (
            "largest client",
            f"{_short(partition.clients[many])}: {_counted(totals[many], 'example')}",
        ),
    ]


def _counted(count: np.number[Any], what: str) -> str:
    return f"{float(count):,g} {what}{'' if count == 1 else 's'}"


def write_partition_page(path: Path, partition: Partition) -> None:
    """Write one HTML page that needs no network: sizes of the clients above, their classes below.

    Args:
        path: path of the file.
        partition: content of the page.

    Raises:
        ReportError: the file cannot be written.
    """
    # Clients stand from the largest to the smallest, with which both pictures begin.
    order = np.argsort(-partition.counts.sum(axis=0), kind="stable")
    counts = partition.counts[:, order]
    names = [_short(partition.clients[place]) for place in order]
    if len(set(names)) < len(names):  # on an axis of names, equal names would share one place
        names = [f"{name} ({place})" for place, name in zip(order.tolist(), names, strict=True)]
    totals = counts.sum(axis=0).tolist()
    rows = list(zip(names, totals, counts.T.tolist(), strict=True))
    page = render_page(
        "partition.html.j2",
        title=partition.title,
        partition=partition.scheme,
        tiles=_tiles(counts),
        sizes=payload(_sizes(names, totals)),
        holdings=payload(_heat(names, partition.classes, counts)),
        classes=partition.classes,
        rows=rows[:_MOST_ROWS],
        left_out=len(rows) > _MOST_ROWS,
    )
    try:
        replace_file(path, page.encode())
    except OSError as error:
        raise ReportError(f"cannot write {path}: {error.strerror}") from error


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def _tiles(counts: NDArray[np.int64]) -> list[tuple[str, str, str]]:
    totals = counts.sum(axis=0)
    held = (counts > 0).sum(axis=0)
    share = counts.max(axis=0).sum() / max(int(totals.sum()), 1)
    few, middle, many = int(totals.min()), float(np.median(totals)), int(totals.max())
    return [
        (
            "Clients",
            f"{counts.shape[1]:,}",
            f"They hold {int(totals.sum()):,} examples to train on.",
        ),
        ("Examples", f"{middle:,.0f}", f"of the median client; from {few:,} to {many:,}."),
        ("Labels", f"{np.median(held):,.0f}", f"of {len(counts):,} at the median client."),
        (
            "Commonest",
            f"{share:.0%}",
            "of a client's examples are of its commonest label, on average.",
        ),
    ]


def _clients_axis(names: Sequence[str], **extra: object) -> dict[str, Any]:
    return {
        "type": "category",
        "categoryarray": list(names),
        "title": {"text": "Client"},
        "nticks": 12,
        **extra,
    }


def _sizes(names: Sequence[str], totals: Sequence[int]) -> dict[str, Any]:
    bars = {
        "type": "bar",
        "x": list(names),
        "y": list(totals),
        "marker": {"color": BLUE},
        "hovertemplate": "%{x}: %{y:,} examples<extra></extra>",
    }
    # Sizes differ by orders of magnitude, and a client without examples has no logarithm.
    low = math.log10(max(min(totals), 1))
    axis = {
        "title": {"text": "Examples"},
        "type": "log",
        "range": [min(low - 0.3, 0.0), math.log10(max(totals)) + 0.1],
        "dtick": 1,
    }
    return figure([bars], 260, xaxis=_clients_axis(names), yaxis=axis, showlegend=False)


def _heat(
    names: Sequence[str], classes: Sequence[str], counts: NDArray[np.int64]
) -> dict[str, Any]:
    logs = [
        # A gap, and not a colour, shows that a client has no such example.
        [None if not count else round(math.log10(count), 3) for count in row]
        for row in counts.tolist()
    ]
    # Colours end at the largest count, whose tick says so; a decade that nearly touches it has none.
    most = max(int(counts.max()), 2)
    decades = [10**power for power in range(math.ceil(math.log10(most)))]
    ticks = [*(decade for decade in decades if 2 * decade <= most), most]
    trace = {
        "type": "heatmap",
        "x": list(names),
        "y": [_short(name) for name in classes],
        "z": logs,
        "customdata": counts.tolist(),
        "zmin": 0,
        "zmax": math.log10(most),
        "colorscale": "Viridis",
        "colorbar": {
            "title": {"text": "examples"},
            "tickvals": [math.log10(tick) for tick in ticks],
            "ticktext": [f"{tick:,}" for tick in ticks],
            "orientation": "h",
            "y": 1.02,
            "yanchor": "bottom",
            "thickness": 10,
        },
        "hovertemplate": "%{y}, client %{x}: %{customdata:,} examples<extra></extra>",
    }
    axis = {"type": "category", "title": {"text": ""}, "autorange": "reversed"}
    height = 180 + min(max(22 * len(classes), 120), 700)
    # The axis is that of the picture above. Plotly would put its title among the names, since the bar of
    # colours moves the axis after the title was placed.
    below = _clients_axis(names, title={"text": ""})
    return figure([trace], height, xaxis=below, yaxis=axis, showlegend=False)
