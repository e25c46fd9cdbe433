"""SCAFFOLD: control variates that reduce the drift of local steps (Karimireddy et al. 2020, Algorithm 1).

Every client corrects each of its steps by c − cᵢ. Here cᵢ is the mean of the client's own gradients in its
last round, and c is the mean of all cᵢ.  With option II, cᵢ⁺ = cᵢ − c − Δᵢ/h, where h is the sum of the
round's learning rates (K·η in the paper), so that

    ΣΔcᵢ = −m·c − ΣΔᵢ/h

over m clients of equal h.  The server computes this from the sum of the updates, and clients send nothing
more.  If clients take different numbers of steps, h is private to each client. Then Δcᵢ joins the vector of
the secure sum, in units of the fewest steps that any client takes, which makes it about as long as the
update.

A client computes its cᵢ from the vector that it sent, after rounding and clipping. So c stays the mean of all
cᵢ, except for noise and for updates that were sent and lost.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedavg.errors import LocalProtocolError
from fedavg.parts import Part, Trait, register

if TYPE_CHECKING:
    from fedavg.algorithms.interface import RoundFacts, Vector
    from fedavg.algorithms.state import ClientState
    from fedavg.optimizers.local import LocalTraining

__all__ = ["Scaffold", "Variates"]

_KEY = "control"


def _travelled(facts: RoundFacts, steps: int) -> float:
    """Sum of the learning rates of this many steps in a round."""
    training = facts.training
    rate, decay = training.lr_at(facts.round_index, facts.num_rounds), training.step_decay
    # The rates of a round's steps form a geometric series.
    return rate * (steps if decay == 1 else (1 - decay**steps) / (1 - decay))


def _unit(facts: RoundFacts) -> float:
    """Factor for changes that join the update: the learning rates of the fewest steps of any client."""
    training = facts.training
    # A client takes at least one step an epoch; with the fewest steps a change is about as long as an update.
    fewest = min(training.epochs, training.max_steps or training.epochs)
    return _travelled(facts, fewest)


@dataclass(frozen=True, slots=True, eq=False)
class Variates:
    """One client's control variates in one round.

    Args:
        control: float64[d], c as broadcast.
        own: float64[d], cᵢ.
        travelled: sum of the learning rates of this client's steps.
        unit: factor of the change that joins the update; None when no change joins it.
    """

    control: Vector
    own: Vector
    travelled: float
    unit: float | None

    @property
    def correction(self) -> Vector:
        """float64[d], added to every gradient: c − cᵢ."""
        return self.control - self.own

    def _change(self, update: Vector) -> Vector:
        return -self.control - update / self.travelled

    def sent(self, update: Vector) -> Vector:
        """The update, followed by the change of cᵢ if the server cannot compute the sum of changes."""
        if self.unit is None:
            return update
        return np.concatenate([update, self.unit * self._change(update)])

    def arrived(self, sent: Vector) -> Vector:
        """The part of the vector that is the update."""
        return sent[: self.own.size]

    def keep(self, sent: Vector, arrived: Vector) -> ClientState:
        """The next cᵢ, computed from what the server can decode, so that c stays the mean of all cᵢ."""
        del sent
        if self.unit is None:
            return {_KEY: self.own + self._change(arrived)}
        return {_KEY: self.own + arrived[self.own.size :] / self.unit}


@register("stage")
class Scaffold(Part, frozen=True, tag="scaffold"):
    """Control variates against the drift of local steps, under any secure sum and noise.

    The clients must use plain SGD, because only then their updates determine their mean gradients; the server
    may use any optimiser.  All clients have equal weight, since c is a mean over clients.

    Example:
        >>> from fedavg.optimizers.local import LocalTraining
        >>> Scaffold().sent_length(10, LocalTraining(steps=5)), Scaffold().sent_length(10, LocalTraining())
        (10, 20)
    """

    kind: ClassVar[str] = "scaffold"
    remembers: ClassVar[bool] = True
    corrects: ClassVar[bool] = True

    @property
    def traits(self) -> frozenset[Trait]:
        """States that it reads gradients off updates, keeps a state, and takes an unweighted mean."""
        return frozenset({Trait.READS_GRADIENT, Trait.REMEMBERS_ROUNDS, Trait.EQUAL_WEIGHTS})

    def sent_length(self, length: int, training: LocalTraining) -> int:
        """Twice the length where clients take different numbers of steps."""
        return length if training.steps is not None else 2 * length

    def client(self, facts: RoundFacts, extra: bytes | None, kept: ClientState) -> Variates:
        """See `UpdateStage.client`.

        Raises:
            LocalProtocolError: the control variate is missing, or is not a vector of the model's length.
        """
        length = facts.vector_length
        if extra is None:
            raise LocalProtocolError(
                "the server and this client's plan disagree about SCAFFOLD: it sent no control variate"
            )
        if len(extra) != 4 * length:
            raise LocalProtocolError(f"the server sent a control variate that is not of {length}")
        control = np.frombuffer(extra, dtype="<f4").astype(np.float64)
        if not bool(np.isfinite(control).all()):
            raise LocalProtocolError("the server sent a control variate with NaN or infinity")
        # A client that takes part for the first time has the control variate 0, as the server counts it.
        own = np.asarray(kept.get(_KEY, np.zeros(length)), dtype=np.float64)
        steps = facts.training.steps_for(facts.examples)
        unit = None if facts.training.steps is not None else _unit(facts)
        return Variates(control, own, _travelled(facts, steps), unit)

    def init(self, length: int) -> Vector:
        """The initial control variate, 0."""
        return np.zeros(length)

    def broadcast(self, state: Vector | None) -> bytes | None:
        """The control variate c as float32, little endian."""
        return None if state is None else state.astype("<f4").tobytes()

    def received(
        self, facts: RoundFacts, mean: Vector, divisor: float, state: Vector | None
    ) -> tuple[Vector, Vector | None]:
        """The server's c ← c + ΣΔcᵢ/N.

        Under differential privacy `mean` is noisy and `divisor` is the public expected cohort. The step is
        then post-processing of the release, and does not depend on the number of survivors.
        """
        control = np.zeros(facts.vector_length) if state is None else state
        # The mean is over the clients of the sum and c over all N, so changes count by the sum's share.
        share, update = divisor / facts.num_clients, mean[: control.size]
        if facts.training.steps is None:
            return update, control + share * mean[control.size :] / _unit(facts)
        if not math.isfinite(share):
            raise LocalProtocolError("this plan's server cannot compute control variates")
        shown = control.astype(np.float32).astype(np.float64)  # the value that clients subtracted
        travelled = _travelled(facts, facts.training.steps)
        return update, control - share * (shown + mean / travelled)
