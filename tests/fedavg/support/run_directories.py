"""Synthetic run directories for the report's tests: shaped like a real run, built from a public seed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

DIMENSION = 1970
STAGES = (
    "train",
    "advertise_keys",
    "share_keys",
    "masked_input",
    "consistency",
    "unmask",
    "decode",
)


def write_run(
    path: Path,
    *,
    rounds: int = 40,
    private: bool = True,
    baseline: float | None = 0.884,
    view: bool = True,
    backend: str = "secagg",
    stopped: str = "finished",
    **summary: Any,
) -> Path:
    """Write a whole run directory and return its path."""
    path.mkdir(parents=True)
    rng = np.random.default_rng(7)
    metrics = _metrics(rng, rounds, private=private)
    server = _server(rng, rounds, private=private, backend=backend)
    (path / "config.toml").write_text("rounds = 40\n\n[privacy]\nepsilon = 5.0\n")
    _lines(path / "metrics.jsonl", metrics)
    _lines(path / "server.jsonl", server)
    budget = {"epsilon": 5.0 if private else None, "delta": 1e-5}
    (path / "ledger.json").write_text(json.dumps({"budget": budget, "spent": 4.7}))
    whole = _summary(rounds, private=private, backend=backend) | {
        "accuracy": metrics[-1]["accuracy"] if metrics else None,
        "baseline_accuracy": baseline,
        "epsilon_release": metrics[-1]["epsilon_release"] if metrics else None,
        "epsilon_server": server[-1]["epsilon_server"] if server else None,
        "stopped": stopped,
    }
    (path / "summary.json").write_text(json.dumps(whole | summary))
    if view:
        (path / "server_view.json").write_text(json.dumps(_view(rng, backend, private=private)))
    return path


def _lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _metrics(rng: np.random.Generator, rounds: int, *, private: bool) -> list[dict[str, Any]]:
    t = np.arange(1, rounds + 1)
    accuracy = 0.86 - 0.5 * np.exp(-t / 6) + 0.006 * rng.standard_normal(rounds)
    epsilon = 0.9 + 3.8 * np.sqrt(t / 40)
    return [
        {
            "round": int(r),
            "accuracy": round(float(a), 4),
            "loss": round(float(2.3 * np.exp(-r / 9) + 0.5), 4),
            "epsilon_release": float(e) if private else None,
        }
        for r, a, e in zip(t, accuracy, epsilon, strict=True)
    ]


def _server(
    rng: np.random.Generator, rounds: int, *, private: bool, backend: str
) -> list[dict[str, Any]]:
    stages = STAGES if backend == "secagg" else ("train", "encrypt", "sum", "open", "decode")
    typical = np.array([0.9, 0.12, 0.35, 0.42, 0.06, 0.51, 0.02])[: len(stages)]
    rows: list[dict[str, Any]] = []
    for r in range(1, rounds + 1):
        cohort = int(rng.binomial(1000, 0.15))
        survivors = cohort - int(rng.binomial(cohort, 0.03))
        times = typical * rng.uniform(0.9, 1.2, len(stages))
        rows.append(
            {
                "round": r,
                "cohort": cohort,
                "survivors": survivors,
                "skipped": False,
                "epsilon_server": 3.1 * (1 + r // 6) ** 0.55 if private else None,
                "bytes_up": survivors * 27_300,
                "bytes_down": cohort * 33_100,
                "seconds": dict(zip(stages, times.round(4).tolist(), strict=True)),
            }
        )
    return rows


def _summary(rounds: int, *, private: bool, backend: str) -> dict[str, Any]:
    return {
        "task": "Handwritten digits, 14×14",
        "model": "softmax",
        "parameters": DIMENSION,
        "clients": 1000,
        "secure_sum": backend,
        "hides_updates": backend != "insecure-plain",
        "received": "What the server received.",
        "threat_model": "malicious",
        "noise": "gaussian" if private else "none",
        "noise_multiplier": 1.3 if private else None,
        "noise_multiplier_added": 1.55 if private else None,
        "sampling_rate": 0.15,
        "expected_cohort": 150.0,
        "clip": 0.5,
        "rounds": rounds,
        "rounds_planned": 40,
        "delta": 1e-5,
        "assumptions": [
            "The server may lie, drop and replay messages; at most 10% of each cohort collude with it.",
            "At most 10% of each cohort drop out; beyond that, a round gives no sum.",
        ],
        "seconds": 118.4,
        "wrap_probability": 2.0**-31,
    }


def _view(rng: np.random.Generator, backend: str, *, private: bool) -> dict[str, Any]:
    bits = 22 if backend == "secagg" else 64
    wave = np.sin(np.arange(DIMENSION) / 9.0) * np.cos(np.arange(DIMENSION) / 140.0)
    update = np.rint(60 * wave * rng.gamma(1.0, 1.0, DIMENSION)).astype(int)
    noised = update + np.rint(400 * rng.standard_normal(DIMENSION)).astype(int) * private
    masked = rng.integers(0, 2 ** (bits if backend == "secagg" else 59), DIMENSION)
    kinds = [("model", "down", 151, 7_960), ("ready", "up", 147, 21), ("offer", "down", 147, 190)]
    kinds += [("masked_input", "up", 147, 5_480), ("unmask", "up", 147, 4_740)]
    return {
        "round": 1,
        "backend": backend,
        "hides_updates": backend != "insecure-plain",
        "received": "What the server received.",
        "messages": [
            {"kind": kind, "direction": way, "count": n, "bytes": n * size}
            for kind, way, n, size in kinds
        ],
        "client": {
            "update": update.tolist(),
            "noised": noised.tolist(),
            "masked": masked.tolist(),
            "modulus_bits": bits,
        },
        "aggregate": (0.01 * wave + 0.004 * rng.standard_normal(DIMENSION)).tolist(),
    }
