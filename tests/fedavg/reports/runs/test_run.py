"""The report: complete for whole and broken-off runs, offline, escaped, and free of secrets when public."""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go
import pytest

from fedavg.errors import FedAvgError, ReportError
from fedavg.reports import figures as report_figures
from fedavg.reports import page as page_module
from fedavg.reports.reading import data as report_data
from fedavg.reports.runs.run import write_report
from tests.fedavg.support.pages import Page
from tests.fedavg.support.run_directories import write_run

if TYPE_CHECKING:
    from pathlib import Path


def _page(run: Path, *, public: bool = False) -> Page:
    return Page(write_report(run, public=public).read_text(encoding="utf-8"))


def test_headline_shows_accuracy_both_epsilons_delta_and_assumptions(tmp_path: Path) -> None:
    words = _page(write_run(tmp_path / "run", accuracy=0.8411, baseline_accuracy=0.9022)).words
    assert "84.1%" in words
    assert "90.2% without clipping, noise and masks: protection costs 6.1 points" in words
    assert "Epsilon for an observer of the released models 4.70" in words
    assert "Epsilon for the server 9.04" in words
    assert "Delta 10⁻⁵" in words
    assert "at most 10% of each cohort collude with it" in words


def test_every_figure_is_valid_plotly_and_has_its_place(tmp_path: Path) -> None:
    page = _page(write_run(tmp_path / "run"))
    figures = page.figures()
    places = {attrs.get("id") for tag, attrs in page.tags if tag == "div"}
    assert set(figures) == {
        "outcome", "server-epsilon", "traffic", "seconds", "cohorts",
        "view-update", "view-masked", "view-aggregate",
    }  # fmt: skip
    assert set(figures) <= places
    for figure in figures.values():
        go.Figure(figure)  # raises on a property that Plotly does not know


def test_the_two_panels_share_one_axis_and_the_baseline_is_dashed(tmp_path: Path) -> None:
    figure = _page(write_run(tmp_path / "run")).figures()["outcome"]
    accuracy, epsilon = figure["data"]
    assert accuracy["x"] == epsilon["x"] == list(range(1, 41))
    assert "xaxis" not in epsilon
    lower, upper = figure["layout"]["yaxis2"]["domain"], figure["layout"]["yaxis"]["domain"]
    assert lower[1] < upper[0]
    labels = {shape["label"]["text"]: shape for shape in figure["layout"]["shapes"]}
    assert labels["unprotected 88.4%"]["line"]["dash"] == "dash"
    assert "budget 5" in labels


def test_labels_of_levels_stand_where_the_curve_is_far(tmp_path: Path) -> None:
    beside = report_figures._level("rule", 0.79, "y", (None, 0.795, 0.76))
    assert beside["label"]["textposition"] == "end"
    assert report_figures._level("rule", 0.5, "y", (0.6, 0.5))["label"]["textposition"] == "start"
    assert report_figures._level("rule", 0.5, "y", (None,))["label"]["textposition"] == "start"


def test_seconds_stack_to_the_recorded_total(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rounds=5)
    bars = _page(run).figures()["seconds"]["data"]
    rows = [json.loads(line) for line in (run / "server.jsonl").read_text().splitlines()]
    assert [bar["name"] for bar in bars][:2] == ["train", "advertise keys"]
    stacked = np.sum([bar["y"] for bar in bars], axis=0)
    np.testing.assert_allclose(stacked, [sum(row["seconds"].values()) for row in rows])


def test_the_page_is_one_offline_file_under_six_megabytes(tmp_path: Path) -> None:
    path = write_report(write_run(tmp_path / "run", rounds=300))
    source = path.read_text(encoding="utf-8")
    page = Page(source)
    assert path.stat().st_size < 6_000_000
    assert source.count("plotly.js v") == 1
    page.assert_offline()


@pytest.mark.parametrize(
    "changes",
    [
        {"rounds": 0, "view": False, "baseline": None, "stopped": "unstarted"},
        {"rounds": 1, "view": False, "baseline": None, "stopped": "interrupted"},
        {"rounds": 1, "private": False, "baseline": None},
        {"rounds": 12, "private": False, "backend": "ckks"},
        {"rounds": 12, "private": False, "backend": "insecure-plain"},
        {"rounds": 12, "stopped": "budget"},
    ],
)
@pytest.mark.parametrize("public", [False, True])
def test_partial_runs_still_report(
    tmp_path: Path, changes: dict[str, Any], *, public: bool
) -> None:
    page = _page(write_run(tmp_path / "run", **changes), public=public)
    for figure in page.figures().values():
        go.Figure(figure)
    assert "nan" not in page.words.lower().split()
    assert "None" not in page.words
    if changes.get("stopped") in ("unstarted", "interrupted"):
        assert "Interrupted, or still running" in page.words
    if changes.get("stopped") == "budget":
        assert "would have exceeded the privacy budget" in page.words
    if changes.get("private") is False:
        assert "no bound" in page.words


@pytest.mark.parametrize("name", ["summary.json", "metrics.jsonl", "server.jsonl", "ledger.json"])
def test_any_one_file_may_be_missing(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run", rounds=3)
    (run / name).unlink()
    assert _page(run).words


def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rounds=3)
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"round": 4, "accur')
    assert _page(run).figures()["outcome"]["data"][0]["x"] == [1, 2, 3]


def test_a_folder_that_is_no_run_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing to see")
    with pytest.raises(ReportError, match="no run directory") as caught:
        write_report(tmp_path)
    assert isinstance(caught.value, FedAvgError)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("summary.json", '{"rounds": "many"}'),
        ("summary.json", "{"),
        ("metrics.jsonl", '{"round": 1}\nnot json\n'),
        ("server_view.json", '{"round": 1, "client": 3}'),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, text: str) -> None:
    run = write_run(tmp_path / "run", rounds=2)
    (run / name).write_text(text)
    with pytest.raises(ReportError, match=re.escape(name)):
        write_report(run)
    assert not (run / "report.html").exists()


_HOSTILE = "<script>alert(1)</script></script><img src=x onerror=alert(2)>"


def test_text_from_a_run_is_escaped_everywhere(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", task=_HOSTILE, model=_HOSTILE, assumptions=[_HOSTILE])
    (run / "config.toml").write_text(_HOSTILE)
    rows = [json.loads(line) for line in (run / "server.jsonl").read_text().splitlines()]
    rows[0]["seconds"][_HOSTILE] = 1.0
    (run / "server.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = write_report(run).read_text(encoding="utf-8")
    page = Page(source)
    assert _HOSTILE not in source
    assert html.escape("<img src=x") in source
    assert "img" not in {tag for tag, _ in page.tags}


def test_escaping_is_what_stops_that_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant without autoescape lets the same text through."""
    run = write_run(tmp_path / "run", task=_HOSTILE)
    real = page_module.Environment
    monkeypatch.setattr(
        page_module, "Environment", lambda **options: real(**options | {"autoescape": False})
    )
    assert _HOSTILE in write_report(run).read_text(encoding="utf-8")


def test_the_public_report_does_not_depend_on_what_only_the_operator_may_know(
    tmp_path: Path,
) -> None:
    """The page has the same bytes for other cohorts, times, messages, personal models and server
    epsilons."""
    one, other = write_run(tmp_path / "one"), write_run(tmp_path / "other")
    (other / "server.jsonl").unlink()
    (other / "server_view.json").unlink()
    summary = json.loads((other / "summary.json").read_text())
    summary |= {"epsilon_server": 1.25, "baseline_accuracy": 0.5, "seconds": 7.0}
    for run, personal in ((one, 0.25), (other, 0.75)):  # clients' own figures are theirs
        row = {"client": 3, "examples": 4, "shared": 0.5, "personal": personal, "trained": True}
        (run / "personal.jsonl").write_text(json.dumps(row) + "\n")
        kept = json.loads((run / "summary.json").read_text()) if run is one else summary
        figures = {"kind": "ditto", "worst": personal, "clients": int(8 * personal)}
        (run / "summary.json").write_text(json.dumps(kept | {"personalization": figures}))
    pages = [write_report(run, public=True).read_bytes() for run in (one, other)]
    assert pages[0] == pages[1]
    assert not (one / "report.html").exists()
    assert (one / "report-public.html").exists()


def test_only_the_operator_reads_why_nothing_was_learnt(tmp_path: Path) -> None:
    """The reasons state numbers of clients, and errors that their data cause."""
    why = "No client contributed an update: 3 clients are ready, and a round takes 5."
    run = write_run(tmp_path / "idle", stopped="nothing-learnt", why=why)
    assert why in _page(run).words
    public = _page(run, public=True).words
    assert "no client contributed an update in any round" in public
    assert "3 clients are ready" not in public


def test_the_full_report_does_depend_on_it_and_warns(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    page = _page(run)
    rows = [json.loads(line) for line in (run / "server.jsonl").read_text().splitlines()]
    assert page.figures()["cohorts"]["data"][0]["y"] == [row["survivors"] for row in rows]
    assert "For the server's operator only" in page.words
    assert "Publishing cohort sizes voids the epsilon above" in page.words
    assert "For the server's operator only" not in _page(run, public=True).words


def test_the_masked_picture_is_flat_and_the_update_is_not(tmp_path: Path) -> None:
    """Histogram counts over 40 bins of 1,970 values, fixed seed: χ² with 39 degrees of freedom."""
    figures = _page(write_run(tmp_path / "run")).figures()

    def chi_squared(name: str) -> float:
        counts = np.array(figures[name]["data"][1]["y"])
        return float(((counts - counts.mean()) ** 2 / counts.mean()).sum())

    assert chi_squared("view-masked") < 95
    assert chi_squared("view-update") > 1000
    assert chi_squared("view-aggregate") > 300


def test_a_sum_in_the_clear_says_so(tmp_path: Path) -> None:
    words = _page(write_run(tmp_path / "run", backend="insecure-plain", private=False)).words
    assert "the server saw every client's update in the clear" in words
    assert "Nothing was hidden" in words
    assert "Nothing was hidden" not in _page(write_run(tmp_path / "masked")).words


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [1e300, -1e300, None], [5.0] * 7])
def test_degenerate_vectors_give_pictures(values: list[float | None]) -> None:
    view = report_data.ServerView(round=1, aggregate=tuple(values))
    ((name, figure),) = report_figures.views(view)
    assert name == "aggregate"
    assert sum(figure["data"][1]["y"]) >= 1
    json.dumps(figure, allow_nan=False)


def test_a_second_report_replaces_the_first_whole(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", rounds=2)
    first = write_report(run).read_bytes()
    assert write_report(run).read_bytes() == first
    assert not list(run.glob("*.part"))
