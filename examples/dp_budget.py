"""A privacy budget: how much noise an epsilon takes, what a run costs, and a ledger that says no in time.

Run: python examples/dp_budget.py
"""

from __future__ import annotations

import dp


def main(rounds: int = 500, delta: float = 1e-6) -> None:
    """Plan 500 rounds over 10,000 clients of which each round asks 2 %."""
    sampling = dp.PoissonSampling(0.02)

    print("epsilon  noise multiplier")
    for epsilon in (1.0, 3.0, 8.0):
        noise = dp.calibrate_noise_multiplier(epsilon, delta, sampling=sampling, steps=rounds)
        print(f"{epsilon:7g}  {noise:.3f}")

    # An epsilon is a certified interval: the true value lies between both ends.
    event = dp.GaussianEvent(1.0, sampling)
    found = dp.Accountant().compose(event, rounds).epsilon(delta)
    print(f"noise multiplier 1: epsilon between {found.low:.4f} and {found.high:.4f}")
    unsampled = dp.Accountant().compose(dp.GaussianEvent(1.0), rounds).epsilon(delta)
    print(f"without sampling: {unsampled.high:.1f}")

    # A ledger is charged before a release, and refuses what would pass the budget.
    ledger = dp.Ledger(3.0, delta)
    released = 0
    while not ledger.would_exceed(event, 50):
        ledger.charge(event, 50)
        released += 50
    print(f"budget of epsilon 3: {released} rounds, {ledger.spent().high:.3f} spent")


if __name__ == "__main__":
    main()
