"""The page's figures: JSON that Plotly draws all of, safe inside a script element."""

from __future__ import annotations

import json

import pytest

from fedavg.errors import ReportError
from fedavg.reports.page import payload


def test_a_figure_is_written_as_it_was_given():
    figure = {"data": [{"type": "scatter", "x": [1], "y": [None]}], "layout": {"height": 200}}
    assert json.loads(payload(figure)) == figure
    assert "</script>" not in payload(figure | {"layout": {"title": {"text": "</script>"}}})


@pytest.mark.parametrize(
    "figure",
    [
        {"data": [{"type": "scatter", "colour": "red"}], "layout": {}},
        {"data": [{"type": "pictogram"}], "layout": {}},
        {"data": [], "layout": {"xaxis": {"titel": "Round"}}},
        {"data": [{"type": "bar", "opacity": "half"}], "layout": {}},
    ],
)
def test_what_plotly_would_leave_out_is_refused(figure):
    with pytest.raises(ReportError, match="Plotly does not take"):
        payload(figure)
