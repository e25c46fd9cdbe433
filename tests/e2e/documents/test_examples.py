"""Every example runs and prints what it promises."""

from __future__ import annotations

import importlib.util
import re

import pytest

from tests.arch.tree import ROOT

EXAMPLES = ROOT / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_examples_have_a_test():
    tested = {"privacy_utility", "encryption_overhead", "embed_secagg", "selective_encryption"}
    tested |= {"gradient_matching", "experiment_logging", "ckks_average", "dp_budget"}
    tested |= {"secagg_in_60_lines", "one_shot_in_60_lines", "records"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == tested


def test_embed_secagg(capsys):
    load("embed_secagg").main()
    printed = capsys.readouterr().out
    assert "client 99" in printed  # the stranger, at the server
    assert "survivors (0, 1, 2, 3, 4, 6, 7), exact: True" in printed


@pytest.mark.parametrize("name", ["secagg_in_60_lines", "one_shot_in_60_lines"])
def test_sixty_lines_are_sixty_and_exact(capsys, name):
    lines = (EXAMPLES / f"{name}.py").read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= 60
    load(name).main(length=500)
    printed = capsys.readouterr().out
    if name == "one_shot_in_60_lines":
        assert printed.splitlines() == ["29 clients in the sum, one message each", "exact: True"]
    else:
        assert "in the sum: (0, 1, 2, 3, 5)" in printed
        error = float(re.search(r"mean: ([0-9.e-]+),", printed)[1])
        assert error <= 0.5 / 2**15  # half a grid unit


def test_ckks_average(capsys):
    load("ckks_average").main(length=500)
    printed = capsys.readouterr().out
    error = float(re.search(r"weighted mean: ([0-9.e-]+)", printed)[1])
    assert (
        error <= 5 * 0.5 / 2**12 / 60
    )  # half a grid unit for each of five clients, divided by the weights


def test_dp_budget(capsys):
    """The figures of 500 rounds: multipliers fall as epsilon grows, and the ledger stops below its budget."""
    load("dp_budget").main()
    lines = capsys.readouterr().out.splitlines()
    multipliers = [float(line.split()[1]) for line in lines[1:4]]
    assert multipliers == sorted(multipliers, reverse=True)
    low, high = map(float, re.search(r"between ([\d.]+) and ([\d.]+)", lines[4]).groups())
    assert low <= high <= low * 1.001
    rounds, spent = re.search(r"3: (\d+) rounds, ([\d.]+) spent", lines[6]).groups()
    assert 0 < int(rounds) < 500
    assert 2.5 < float(spent) <= 3


def test_encryption_overhead(capsys):
    load("encryption_overhead").main(length=5000)
    printed = capsys.readouterr().out
    assert printed.count("exact") == 3


def test_privacy_utility(capsys):
    load("privacy_utility").main(rounds=1)
    assert capsys.readouterr().out.count("accuracy") == 3


def test_selective_encryption(capsys):
    """Open entries show images; a random half of them shows as much as all; encrypted ones show none."""
    load("selective_encryption").main(images=5, length=2000)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "%  " in line]
    errors = {(row[0], row[1]): float(row[3]) for row in rows}
    assert errors["0%", "random"] < 0.01
    assert errors["50%", "random"] < 0.01
    assert errors["50%", "sensitivity"] > 0.1
    assert errors["100%", "sensitivity"] == 1.0


def test_gradient_matching(capsys, tmp_path):
    """What is open shows the image, at random shares as at none; encrypted, nothing is found."""
    picture = tmp_path / "found.svg"
    load("gradient_matching").main(picture, images=1, steps=60)
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "%" in line]
    medians = {" ".join(row[:-4]): float(row[-4]) for row in rows}
    assert max(medians[name] for name in ("0%", "5% at random", "20% at random")) < 0.01
    assert medians["20% by sensitivity"] < medians["50% by sensitivity"] < medians["100%"] == 1.0
    drawn = picture.read_text()
    assert drawn.count("<rect") == 1 + 64 * 9
    assert drawn.startswith("<svg")
    assert drawn.endswith("</svg>")


def test_a_model_moves_from_one_task_to_another_by_two_configurations(tmp_path):
    """The pair under examples/transfer, shortened and without masks."""
    import json

    from typer.testing import CliRunner

    from fedavg.cli.app import app

    base = tmp_path / "base"
    options = ["--secure-sum", "insecure-plain", "--workers", "0"]
    first = [
        "run",
        str(EXAMPLES / "transfer" / "pretrain.toml"),
        "--out",
        str(base),
        "--rounds",
        "3",
    ]
    result = CliRunner().invoke(app, [*first, *options])
    assert result.exit_code == 0, result.output
    text = (EXAMPLES / "transfer" / "transfer.toml").read_text()
    assert text.count("runs/base/model.safetensors") == 1
    second = tmp_path / "transfer.toml"
    second.write_text(text.replace("runs/base", str(base)))
    out = tmp_path / "moved"
    result = CliRunner().invoke(
        app, ["run", str(second), "--out", str(out), "--rounds", "1", *options]
    )
    assert result.exit_code == 0, result.output
    assert json.loads((out / "summary.json").read_text())["parameters"] == 2570


def test_experiment_logging(capsys):
    """Stand-ins have the two methods of TensorBoard's writer, and take MLflow's arguments."""
    example = load("experiment_logging")
    seen, flushed = [], []

    class Writer:
        def add_scalar(self, name, value, step):
            seen.append((step, name, value))

        def flush(self):
            flushed.append(True)

    results = example.main(example.to_tensorboard(Writer()), rounds=2)
    assert "2 rounds logged; accuracy" in capsys.readouterr().out
    assert len(flushed) == 2
    names = {name for _, name, _ in seen}
    assert names == {"loss", "epsilon", "accuracy", "accuracy of majority class"}
    assert [value for step, name, value in seen if name == "accuracy"] == [
        result.accuracy for result in results
    ]
    logged = {}
    example.to_mlflow(lambda metrics, step: logged.update({step: metrics}))(results[1])
    assert logged[2]["epsilon"] == results[1].epsilon_release


def test_records(capsys):
    load("records").main(steps=4)
    printed = capsys.readouterr().out
    assert printed.count("accuracy") == 4
    assert "epsilon 3.00 for the server with 1 clinic" in printed
