"""SCAFFOLD: control variates that keep local steps from drifting (Karimireddy et al. 2020, Algorithm 1).

Every client corrects each of its steps by c − cᵢ, where cᵢ is the mean of its own gradients in the last
round that it was in and c the mean of all cᵢ.  With option II, cᵢ⁺ = cᵢ − c − Δᵢ/h, where h is the sum of
the round's learning rates (K·η in the paper), so that

    ΣΔcᵢ = −m·c − ΣΔᵢ/h

over m clients of equal h: the server computes it from the sum of the updates, and nothing more is sent.
Where numbers of steps differ, h is private to each client, and Δcᵢ joins the vector of the secure sum in
units of the fewest steps that anyone takes, which makes it about as long as the update.

A client computes its cᵢ from what it sent, rounded and clipped: so c stays the mean of all cᵢ, but for noise
and for updates that left and were lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg.errors import LocalProtocolError, PlanError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.algorithms.state import ClientState
    from fedavg.optimizers.local import LocalTraining
    from fedavg.plan.plan import Plan
    from fedavg.plan.resolution import Resolution
    from fedavg.protocol.messages import RoundStart

__all__ = [
    "Variates",
    "check_scaffold",
    "control_bytes",
    "joins_controls",
    "next_control",
    "variates",
]

_KEY = "control"


def check_scaffold(plan: Plan) -> None:
    """Refuse what option II is no mean of gradients under.

    Raises:
        PlanError: the reason.
    """
    training = plan.local_training
    if training.optimizer != "sgd":
        raise PlanError(
            f"SCAFFOLD reads a client's mean gradient off its update, which {training.optimizer!r} does "
            "not allow: use optimizer='sgd' at the clients (the server's is free)"
        )
    if training.proximal:
        raise PlanError(
            "a proximal term would enter the control variates, although it is no gradient of a client's "
            "loss: use SCAFFOLD or FedProx"
        )
    if plan.weighting == "examples":
        raise PlanError(
            "SCAFFOLD's control variates are an unweighted mean over all clients, and so must be the "
            "updates (Karimireddy et al. 2020, Algorithm 1): use weighting='equal' or leave it out"
        )
    if joins_controls(plan) and plan.secure_sum.kind.startswith("selective"):
        raise PlanError(
            "clients with different numbers of steps send twice the model's length, and the map of what "
            "to encrypt is of one length: give LocalTraining(steps=…), or encrypt everything"
        )


def joins_controls(plan: Plan) -> bool:
    """Whether a change of the client's control variate is sent beside the update."""
    return plan.scaffold and plan.local_training.steps is None


def control_bytes(control: NDArray[np.float64] | None) -> bytes | None:
    """As broadcast: float32, little endian."""
    return None if control is None else control.astype("<f4").tobytes()


def _travelled(resolution: Resolution, round_index: int, steps: int) -> float:
    """The sum of so many steps' learning rates in a round."""
    training = resolution.plan.local_training
    rate, decay = training.lr_at(round_index, resolution.num_rounds), training.step_decay
    return rate * (steps if decay == 1 else (1 - decay**steps) / (1 - decay))


def _unit(resolution: Resolution, round_index: int) -> float:
    """What joined changes are multiplied by: no client takes fewer steps."""
    training: LocalTraining = resolution.plan.local_training
    fewest = min(training.epochs, training.max_steps or training.epochs)
    return _travelled(resolution, round_index, fewest)


@dataclass(frozen=True, slots=True, eq=False)
class Variates:
    """One client's control variates in one round.

    Args:
        control: float64[d], c as broadcast.
        own: float64[d], cᵢ.
        travelled: sum of the learning rates of this client's steps.
        unit: factor of the change that joins the update; None when nothing does.
    """

    control: NDArray[np.float64]
    own: NDArray[np.float64]
    travelled: float
    unit: float | None

    @property
    def correction(self) -> NDArray[np.float64]:
        """float64[d], added to every gradient: c − cᵢ."""
        return self.control - self.own

    def _change(self, update: NDArray[np.float64]) -> NDArray[np.float64]:
        return -self.control - update / self.travelled

    def joined(self, update: NDArray[np.float64]) -> NDArray[np.float64]:
        """What is encoded: the update, and the change of cᵢ where the server cannot compute its sum."""
        if self.unit is None:
            return update
        return np.concatenate([update, self.unit * self._change(update)])

    def kept(self, sent: NDArray[np.float64]) -> ClientState:
        """What the client keeps.

        Args:
            sent: its contribution as decoded, without noise.
        """
        if self.unit is None:
            return {_KEY: self.own + self._change(sent)}
        return {_KEY: self.own + sent[self.own.size :] / self.unit}


def variates(
    resolution: Resolution, start: RoundStart, state: ClientState, examples: int
) -> Variates | None:
    """A client's control variates, or None without SCAFFOLD.

    Args:
        resolution: the plan.
        start: the server's message.
        state: what the client kept.
        examples: how many it holds.

    Raises:
        LocalProtocolError: the server and the plan disagree, or what it sent is no vector of the model.
    """
    plan, length = resolution.plan, resolution.vector_length
    if (start.control is None) == plan.scaffold:
        raise LocalProtocolError("the server and this client's plan disagree about SCAFFOLD")
    if start.control is None:
        return None
    if len(start.control) != 4 * length:
        raise LocalProtocolError(f"the server sent a control variate that is not of {length}")
    control = np.frombuffer(start.control, dtype="<f4").astype(np.float64)
    if not bool(np.isfinite(control).all()):
        raise LocalProtocolError("the server sent a control variate with NaN or infinity")
    own = np.asarray(state.get(_KEY, np.zeros(length)), dtype=np.float64)
    steps = plan.local_training.steps_for(examples)
    unit = _unit(resolution, start.round) if joins_controls(plan) else None
    return Variates(control, own, _travelled(resolution, start.round, steps), unit)


def next_control(
    resolution: Resolution,
    control: NDArray[np.float64],
    mean: NDArray[np.float64],
    divisor: float,
    round_index: int,
) -> NDArray[np.float64]:
    """The server's c ← c + ΣΔcᵢ/N.

    Under differential privacy `mean` is noisy and `divisor` the public expected cohort: post-processing of
    the release, which the number of survivors never enters.

    Args:
        resolution: the plan.
        control: float64[d], c.
        mean: float64[update_length], the decoded sum ÷ divisor.
        divisor: clients in the sum, or their public expected number.
        round_index: counts from 0.

    Returns:
        float64[d].
    """
    share = divisor / resolution.num_clients
    if joins_controls(resolution.plan):
        return control + share * mean[control.size :] / _unit(resolution, round_index)
    steps = resolution.plan.local_training.steps
    if steps is None or not math.isfinite(share):
        raise LocalProtocolError("this plan's server cannot compute control variates")
    shown = control.astype(np.float32).astype(np.float64)  # what the clients subtracted
    return control - share * (shown + mean / _travelled(resolution, round_index, steps))
