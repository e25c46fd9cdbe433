"""Accuracy against epsilon: train the same task at several budgets and print the trade-off.

Run: python examples/privacy_utility.py
"""

from __future__ import annotations

from fedavg.config.build import build_job, load_config
from fedavg.federation.federation import Federation


def accuracy_at(epsilon: float, rounds: int) -> float:
    """Train the built-in example at one budget; the sum in the clear gives the same integers."""
    overrides = {
        "privacy.epsilon": epsilon,
        "rounds": rounds,
        "secure_sum.kind": "insecure-plain",  # fast: every secure sum returns the same bits
    }
    job = build_job(load_config(None, overrides))
    federation = Federation(job.model, job.clients, job.plan, evaluate=job.task.test)
    *_, last = federation.run(rounds)
    return last.accuracy or 0.0


def main(rounds: int = 40) -> None:
    """Print one line a budget."""
    for epsilon in (1.0, 2.0, 5.0):
        print(f"epsilon {epsilon:4.1f}   accuracy {accuracy_at(epsilon, rounds):.1%}")


if __name__ == "__main__":
    main()
