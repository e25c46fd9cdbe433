"""A run directory's figures, also after an interruption."""

from __future__ import annotations

import json

from rich.console import Console

from fedavg.runs.run import execute, resume
from tests.e2e.test_resume import EXACT, config_in

QUIET = Console(quiet=True)


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_resumed_run_keeps_figures_with_their_baselines(tmp_path, monkeypatch):
    """The round before the interruption is written again as it was, its figures included."""
    from fedavg.federation import federation

    config = config_in(tmp_path, EXACT, rounds=4)
    whole = execute(config, {}, tmp_path / "whole", QUIET)
    begun = federation.Federation._round

    def interrupted(self, resolution, transport, side, index, cohort):
        if index == 2:
            raise KeyboardInterrupt
        return begun(self, resolution, transport, side, index, cohort)

    monkeypatch.setattr("fedavg.federation.federation.Federation._round", interrupted)
    out = tmp_path / "broken"
    assert execute(config, {}, out, QUIET).summary["stopped"] == "interrupted"
    before = rows(out / "metrics.jsonl")
    monkeypatch.undo()
    outcome = resume(out, QUIET)
    after = rows(out / "metrics.jsonl")
    assert after[:2] == before
    assert after == rows(tmp_path / "whole" / "metrics.jsonl")
    (figure,) = after[1]["figures"]
    assert figure["name"] == "accuracy"
    assert figure["baseline"]["rule"] == "majority class"
    assert 0.3 < figure["baseline"]["value"] < 0.5
    assert outcome.summary["accuracy"] == whole.summary["accuracy"]
