"""Privacy of people in silos: six clinics, several visits of each patient, and one noisy sum a step.

Run: python examples/records.py
"""

from __future__ import annotations

import numpy as np
from torch import nn

import fedavg

_CLINICS, _PATIENTS, _WIDTH = 6, 900, 8


def _clinic(rng: np.random.Generator, patients: int) -> fedavg.Silo:
    """Visits of patients, one to four each; the outcome follows from the patient's features."""
    person = np.repeat(np.arange(patients), rng.integers(1, 5, patients))
    traits = rng.standard_normal((patients, _WIDTH))
    outcome = (traits[:, 0] + traits[:, 1] * traits[:, 2] > 0).astype(np.int64)
    visits = traits[person] + 0.3 * rng.standard_normal((len(person), _WIDTH))
    return fedavg.Silo(fedavg.Dataset(visits.astype(np.float32), outcome[person]), person)


def main(steps: int = 120) -> None:
    """Train, and print the accuracy with the three ε."""
    rng = np.random.default_rng(0)
    silos = {clinic: _clinic(rng, _PATIENTS) for clinic in range(_CLINICS)}
    held_out = _clinic(rng, 1500).records
    privacy = fedavg.RecordPrivacy(
        unit="person", rate=0.1, clip=0.5, max_units=1000, epsilon=3.0, rows=4
    )
    plan = fedavg.RecordPlan(
        privacy=privacy,
        steps=steps,
        divisor=540.0,  # a declared 900 patients in each of six clinics, times the rate
        server_optimizer=fedavg.FedMomentum(lr=0.5, momentum=0.9),
    )
    model = nn.Sequential(nn.Linear(_WIDTH, 32), nn.Tanh(), nn.Linear(32, 2))
    federation = fedavg.RecordFederation(model, silos, plan, evaluate=held_out)
    found = federation.resolution
    print(f"noise of a sum: {found.noise_overhead:.2f} times that of one trusted party")
    for result in federation.run(score_every=max(1, steps // 4)):
        if result.evaluation is not None:
            print(f"step {result.step:4}   accuracy {result.evaluation.accuracy:.1%}")
    spent = federation.epsilons
    print(
        f"epsilon {spent.release:.2f} for an observer of the models, {spent.server:.2f} for the server"
    )
    print(f"epsilon {spent.colluding:.2f} for the server with {spent.colluders} clinic")


if __name__ == "__main__":
    main()
