"""Empirical audits: they compare the ε that an attack on real output reaches with the ε that is claimed.

An audit never proves privacy.  It can refute a claim, and it measures how much of a claimed ε an attack
reaches.  The figures have different meanings:

- `one_run`: a lower bound on ε, wrong with probability at most 1 − confidence; one training is enough.
- `claim_p_value`: how improbable one training is if the claimed privacy curve holds; a tiny value refutes it.
- `one_shot`: an estimate of ε from one released update; no bound in either direction.
- `two_worlds`: a lower bound on ε from many runs of a mechanism on two neighbouring inputs.
- `check_noise`: whether given noise is as strong as stated, independent in every entry, and of the right
  shape.
"""

from __future__ import annotations

from dp.audit.canaries import canary_scores, fair_coins, unit_canaries
from dp.audit.cosine import OneShot, one_shot
from dp.audit.curves import GaussianCurve, ProfileCurve
from dp.audit.guessing import (
    Family,
    OneRun,
    claim_p_value,
    one_run,
    plan_guesses,
    refutes,
    right_guesses_p_value,
)
from dp.audit.residual import NoiseCheck, NoiseFault, NoiseFinding, check_noise
from dp.audit.worlds import TwoWorlds, two_worlds

__all__ = [
    "Family",
    "GaussianCurve",
    "NoiseCheck",
    "NoiseFault",
    "NoiseFinding",
    "OneRun",
    "OneShot",
    "ProfileCurve",
    "TwoWorlds",
    "canary_scores",
    "check_noise",
    "claim_p_value",
    "fair_coins",
    "one_run",
    "one_shot",
    "plan_guesses",
    "refutes",
    "right_guesses_p_value",
    "two_worlds",
    "unit_canaries",
]
