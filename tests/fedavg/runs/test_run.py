"""A run directory's figures, also after an interruption."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
from rich.console import Console

from fedavg.errors import CheckpointError
from fedavg.federation.federation import Federation
from fedavg.reports.runs.ending import why_unscored
from fedavg.runs.run import execute, resume
from tests.e2e.commands.test_resume import EXACT, config_in

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


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("config.toml", ("rounds = 3", "rounds = 5"), "belongs to another plan"),
        # Other data make another plan too, and the answer names the data.
        ("config.toml", ('name = ".*"', 'name = "breast-cancer"'), "examples are no longer those"),
        ("metrics.jsonl", ('"round": 1', '"round": "1"'), "is damaged in line 1"),
    ],
)
def test_what_belongs_to_another_run_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, name, change, said
):
    """The summary was replaced first, and other data gave an error about the shape of a vector."""
    out = tmp_path / "run"
    begun = Federation._round

    def interrupted(self, resolution, transport, side, index, cohort):
        if index == 2:
            raise KeyboardInterrupt
        return begun(self, resolution, transport, side, index, cohort)

    monkeypatch.setattr(Federation, "_round", interrupted)
    execute(config_in(tmp_path, EXACT, rounds=3), {}, out, QUIET)
    monkeypatch.undo()
    text = (out / name).read_text()
    changed = re.sub(*change, text, count=1)
    assert changed != text
    (out / name).write_text(changed)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match=said):
        resume(out, QUIET)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


OWN_MODULE = """
import torch
from torch.nn import functional

def loss(outputs, labels):
    return functional.cross_entropy(outputs, labels, reduction="none")

def spread(labels, predicted):
    return predicted.max() - predicted.min()
"""


def test_a_run_with_modules_beside_its_file_is_resumed_from_its_own_directory(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "mine_e.py").write_text(OWN_MODULE)
    extra = (
        '[training]\nloss = "mine_e:loss"\n[evaluation]\nmetrics = ["mine_e:spread", "roc_auc"]\n'
    )
    config = config_in(tmp_path, EXACT + extra, rounds=3)
    out = tmp_path / "run"
    execute(config, {}, out, QUIET)
    figures = [figure["name"] for figure in rows(out / "metrics.jsonl")[-1]["figures"]]
    assert figures == ["accuracy", "spread", "roc_auc"]
    (out / "summary.json").unlink()
    (out / "report.html").unlink()
    sys.path[:] = [place for place in sys.path if place != str(tmp_path.resolve())]
    sys.modules.pop("mine_e")
    assert resume(out, QUIET).summary["stopped"] == "finished"


STOPPING = (
    EXACT
    + '[evaluation]\nheadline = "log_loss"\npatience = 2\nbest = true\n[local]\nlr = 4.0\n'
    + '[server]\noptimizer = "momentum"\nlr = 3.0\nmomentum = 0.8\n'
)


def test_a_run_stops_early_and_keeps_the_best_model(tmp_path):
    config = config_in(tmp_path, STOPPING, rounds=40)
    outcome = execute(config, {}, tmp_path / "run", QUIET)
    log = rows(tmp_path / "run" / "metrics.jsonl")
    losses = [row["figures"][0]["value"] for row in log]
    assert outcome.summary["stopped"] == "early"
    assert len(log) < 40
    best = int(np.argmin(losses)) + 1
    assert outcome.summary["best_round"] == best == len(log) - 2
    assert outcome.summary["figures"][0]["value"] == min(losses)
    whole = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert whole["figures"][0]["value"] == pytest.approx(min(losses))
    assert not (tmp_path / "run" / "best.npy").exists()


def test_early_stopping_goes_on_after_an_interruption(tmp_path, monkeypatch):
    from fedavg.federation import federation

    config = config_in(tmp_path, STOPPING, rounds=40)
    whole = execute(config, {}, tmp_path / "whole", QUIET)
    begun = federation.Federation._round
    stop = whole.summary["rounds"] - 1  # the best one is done, and the patience not yet used up

    def interrupted(self, resolution, transport, side, index, cohort):
        if index == stop:
            raise KeyboardInterrupt
        return begun(self, resolution, transport, side, index, cohort)

    monkeypatch.setattr("fedavg.federation.federation.Federation._round", interrupted)
    execute(config, {}, tmp_path / "broken", QUIET)
    monkeypatch.undo()
    outcome = resume(tmp_path / "broken", QUIET)
    for key in ("stopped", "rounds", "best_round", "accuracy"):
        assert outcome.summary[key] == whole.summary[key]
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "broken")]
    assert models[0] == models[1]


def test_a_kill_between_a_rounds_log_and_its_model_keeps_the_right_best_model(
    tmp_path, monkeypatch
):
    """The best round's figures are in the log and its model is not: it is taken from the checkpoint."""
    from fedavg.runs.files.directory import RunDirectory

    config = config_in(tmp_path, STOPPING, rounds=40)
    whole = execute(config, {}, tmp_path / "whole", QUIET)
    best, write = whole.summary["best_round"], RunDirectory.write_array

    def killed(self, name, array):
        if len(rows(self.path / "metrics.jsonl")) == best:
            raise MemoryError("stands for SIGKILL")
        write(self, name, array)

    monkeypatch.setattr(RunDirectory, "write_array", killed)
    with pytest.raises(MemoryError):
        execute(config, {}, tmp_path / "broken", QUIET)
    monkeypatch.undo()
    outcome = resume(tmp_path / "broken", QUIET)
    assert outcome.summary["best_round"] == best
    models = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "broken")]
    assert models[0] == models[1]


DISTANCE = """
def distance(labels, predicted):
    return abs(float(predicted.max(1).mean()) - 0.8)

distance.greater_is_better = False
"""
CONFIDENCE = (
    EXACT + '[evaluation]\nheadline = "distance_e:distance"\nbest = true\n[local]\nlr = 0.05\n'
)
"""The headline falls until predictions are 80 % sure in the mean, and rises as they become surer."""


def test_what_protection_costs_is_between_two_best_rounds(tmp_path, monkeypatch):
    """Both with and without protection the best round counts, as the configuration asks."""
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / "distance_e.py").write_text(DISTANCE)
    config = config_in(tmp_path, CONFIDENCE, rounds=10)
    outcome = execute(config, {"baseline": True}, tmp_path / "run", QUIET)
    found = [row["figures"][0]["value"] for row in rows(tmp_path / "run" / "metrics.jsonl")]
    assert outcome.summary["best_round"] == int(np.argmin(found)) + 1 < 10
    assert outcome.summary["figures"][0]["value"] == min(found) < found[-1] - 0.05
    assert outcome.summary["unprotected"] == pytest.approx(min(found), abs=0.01)


@pytest.mark.parametrize("private", [False, True])
def test_a_run_in_which_nobody_contributes_ends_with_status_3(tmp_path, private):
    """One step is finite, which clipping hides under noise; twenty are not, and every client sends zeros."""
    from typer.testing import CliRunner

    from fedavg.cli.app import app

    noise = 'noise = "central-gaussian"\nepsilon = 50.0' if private else 'noise = "none"'
    path = tmp_path / "run.toml"
    path.write_text(
        f"""
rounds = 3
[data]
name = "digits"
clients = 60
[cohort]
rate = 0.5
[local]
lr = 1e6
epochs = 20
[model]
name = "mlp"
hidden = [64, 64, 64, 64, 64, 64]
[privacy]
{noise}
[secure_sum]
kind = "insecure-plain"
[simulation]
workers = 0
"""
    )
    out = tmp_path / "run"
    result = CliRunner().invoke(app, ["run", str(path), "--out", str(out)])
    told = " ".join((result.output + result.stderr).split())
    if not private:  # the trial step sees it before the first round: it does not fit the encoding
        assert result.exit_code == 2
        assert "cannot train, so nothing was charged" in told
        assert not out.exists()
        return
    assert result.exit_code == 3, told
    assert "Nothing was learnt: No client contributed an update in any round" in told
    assert "lower the learning rate" in told
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["stopped"], summary["unprotected"]) == ("nothing-learnt", None)
    again = CliRunner().invoke(app, ["resume", str(out)])
    assert again.exit_code == 2


def ends(tmp_path, extra, name="run", rounds=4):
    """A run by the command: its status, its summary, what it printed, and its report."""
    from typer.testing import CliRunner

    from fedavg.cli.app import app

    config, out = config_in(tmp_path, extra, rounds=rounds), tmp_path / name
    result = CliRunner().invoke(app, ["run", str(config), "--out", str(out)])
    summary = json.loads((out / "summary.json").read_text())
    said = " ".join((result.output + result.stderr).split())
    return result.exit_code, summary, said, (out / "report.html").read_text()


@pytest.mark.parametrize("private", [False, True])
def test_rounds_without_a_sum_are_in_the_summary_on_the_console_and_in_the_report(
    tmp_path, monkeypatch, private
):
    from fedavg.errors import RoundAbortedError
    from fedavg.federation import federation

    taken = federation.sum_round

    def failing(model, resolution, *parts):
        start = parts[3]
        if start.round in {1, 3}:
            raise RoundAbortedError("the switch was off")
        return taken(model, resolution, *parts)

    monkeypatch.setattr(federation, "sum_round", failing)
    extra = '[privacy]\nnoise = "central-gaussian"\nnoise_multiplier = 4.0\n' if private else EXACT
    code, summary, said, page = ends(tmp_path, extra)
    assert code == 0, said
    assert (summary["stopped"], summary["skipped"]) == ("finished", [2, 4])
    gave = "released noise alone" if private else "gave no model"
    told = f"2 of 4 rounds had no sum, and {gave}: rounds 2 and 4. The last one is among them"
    assert told in said
    assert "4 of 4, finished; 2" in said
    assert told in page


NEVER = """
def never(labels, predicted):
    return float("nan")

def once(labels, predicted):  # the baseline is always 0.5 where all rows are given the same prediction
    once.calls = getattr(once, "calls", 0) + 1
    flat = (predicted == predicted[0]).all()
    return 0.5 if flat or once.calls < 6 else float("nan")
"""


@pytest.mark.parametrize(
    ("metric", "words", "remedy"),
    [
        ("never", "headline never had no value in any of 4 rounds", "choose another headline"),
        ("once", "headline once has no value for the model that the run keeps", "the loss has one"),
    ],
)
def test_a_headline_without_a_value_is_no_success(tmp_path, monkeypatch, metric, words, remedy):
    monkeypatch.setattr("sys.path", list(sys.path))
    (tmp_path / f"{metric}_e.py").write_text(NEVER)
    extra = EXACT + f'[evaluation]\nheadline = "{metric}_e:{metric}"\n'
    code, summary, said, page = ends(tmp_path, extra)
    assert code == 3, said
    assert summary["stopped"] == "finished"
    assert words in summary["unscored"]
    assert f"Not scored: the {words}" in said
    assert remedy in said
    assert words in page


@pytest.mark.parametrize(
    ("losses", "words"), [((0.5, None), "the training has diverged"), ((0.5, 0.4), "the loss has")]
)
def test_the_reason_follows_from_the_loss(losses, words):
    head = {"name": "rmse", "value": None, "baseline": {"rule": "mean", "value": 1.0}}
    rows = [
        {"round": 1, "loss": losses[0], "figures": [head | {"value": 2.0}]},
        {"round": 2, "loss": losses[1], "figures": [head]},
    ]
    said = why_unscored(rows, head)
    assert words in said
    assert "round 1 was the last one with a value" in said
    assert why_unscored(rows, rows[0]["figures"][0]) is why_unscored(rows, None) is None
    steps = [{"step": row["round"]} | row for row in rows]
    said = why_unscored(steps, head, counted="step", rates="[server] lr")
    assert "step 1 was the last one with a value" in said
