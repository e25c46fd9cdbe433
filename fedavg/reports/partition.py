"""Who holds what in a simulation: examples by client and class, as a Plotly picture in a page of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
import plotly.io
from plotly.subplots import make_subplots

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["holdings", "write_partition_page"]


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


def write_partition_page(path: Path, counts: NDArray[np.int64], title: str) -> None:
    """Write one HTML page that needs no network: sizes of the clients above, their classes below.

    Args:
        path: file to write.
        counts: int64[K, clients], from `holdings`.
        title: above the picture.
    """
    figure = make_subplots(rows=2, shared_xaxes=True, row_heights=[0.3, 0.7], vertical_spacing=0.04)
    figure.add_trace(go.Bar(y=counts.sum(axis=0).tolist(), name="examples"), row=1, col=1)
    figure.add_trace(
        go.Heatmap(z=counts.tolist(), colorscale="Viridis", colorbar={"title": "examples"}),
        row=2,
        col=1,
    )
    figure.update_yaxes(title_text="examples", row=1, col=1)
    figure.update_yaxes(title_text="class", row=2, col=1)
    figure.update_xaxes(title_text="client", row=2, col=1)
    figure.update_layout(title=title, showlegend=False)
    page = plotly.io.to_html(figure, include_plotlyjs=True, full_html=True)
    path.write_text(page, encoding="utf-8")
