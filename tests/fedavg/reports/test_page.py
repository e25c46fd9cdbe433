"""The page's figures: JSON that Plotly draws all of, safe inside a script element."""

from __future__ import annotations

import json
import re
from importlib.resources import files

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


def test_no_template_joins_two_words_where_a_line_ends_in_a_block():
    # trim_blocks removes the line break after a block, so words before it need a space of their own
    joined = re.compile(r"[^\s%}>]\{%-?[^%]*%\}\n[^\s{]")
    folder = files("fedavg.reports") / "templates"
    pages = [page for page in folder.iterdir() if page.name.endswith(".j2")]
    assert len(pages) > 3
    assert joined.search("it learns.{% if more %}\n<span>They")
    assert [page.name for page in pages if joined.search(page.read_text())] == []
