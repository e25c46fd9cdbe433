"""The server's model and the state that changes with it: optimiser, averaged model and clip norm."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from fedavg.algorithms.chain import ServerChain
from fedavg.encoding.broadcast import ModelCodec
from fedavg.errors import PlanError, RoundAbortedError
from fedavg.optimizers.server import Progress
from fedavg.parts.imports import blamed
from fedavg.protocol.messages import RoundStart

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from dp import AdaptiveClipper
    from fedavg.models.layout import Layout
    from fedavg.optimizers.server import ServerOptimizer, State
    from fedavg.plan.plan import Plan
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.sums.interface import SumResult

__all__ = ["DecodedSum", "GlobalModel", "ModelState", "silence"]


@dataclass(frozen=True, slots=True, eq=False)
class ModelState:
    """The state that the server keeps of the model from round to round.

    Args:
        vector: float64[d], the model from which training continues.
        released: float64[d], the model that was released last.
        optimizer: state of the server's optimiser.
        clip: clip norm of the next round, when it adapts.
        arrays: float64[d] each, the state of client algorithms at the server, by name.
        voided: numbers of the sums that failed, where clients keep a state.
    """

    vector: NDArray[np.float64]
    released: NDArray[np.float64]
    optimizer: State
    clip: float | None
    arrays: Mapping[str, NDArray[np.float64]] = field(
        default_factory=dict[str, "NDArray[np.float64]"]
    )
    voided: Sequence[int] = ()


@dataclass(frozen=True, slots=True, eq=False)
class DecodedSum:
    """A decoded sum.

    Args:
        total: float64[m], in real units.
        divisor: number that turns the total into a mean: the survivors' weights, or the public expected
            number.
        clipper: state of the next round's clip norm, when it adapts.
    """

    total: NDArray[np.float64]
    divisor: float
    clipper: AdaptiveClipper | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Silence:
    """The sum of no updates."""

    total: NDArray[np.int64]
    survivors: tuple[int, ...] = ()


def silence(resolution: ResolvedPlan) -> SumResult:
    """The sum of a roster of one client that sent nothing: the server adds all of its noise."""
    return _Silence(np.zeros(resolution.encoded_length, dtype=np.int64))


class GlobalModel:
    """The global model: starts rounds and applies their sums.

    Args:
        plan: the plan of the run.
        vector: float64[d], the initial model.
        layout: names and shapes of the tensors in `vector`.
    """

    def __init__(self, plan: Plan, vector: NDArray[np.float64], layout: Layout) -> None:
        self._plan = plan
        self.codec = ModelCodec(plan.broadcast, layout)
        self.vector = vector
        # Optimisers that average release another model than the one that they train.
        self.released = vector.copy()
        self.optimizer = plan.server_optimizer.init(vector.size)
        start = plan.encoding.clip
        self.clipper = None if plan.clipping is None else plan.clipping.clipper(start)
        self.stages = ServerChain(plan.stages, vector.size)
        self.voided: tuple[int, ...] = ()

    @property
    def clip(self) -> float | None:
        """The clip norm of the next round, when it adapts."""
        return None if self.clipper is None else self.clipper.clip_norm

    @property
    def state(self) -> ModelState:
        """The state that a checkpoint stores."""
        return ModelState(
            vector=self.vector,
            released=self.released,
            optimizer=self.optimizer,
            clip=self.clip,
            arrays=self.stages.arrays,
            voided=self.voided,
        )

    def restore(self, point: ModelState) -> None:
        """Continue from a state that was checked before."""
        self.vector, self.released = point.vector.copy(), point.released.copy()
        self.optimizer = point.optimizer
        if self.clipper is not None and point.clip is not None:
            self.clipper = replace(self.clipper, clip_norm=point.clip)
        self.stages.restore(point.arrays)
        self.voided = tuple(point.voided)

    def void(self, round_index: int, attempt: int = 0) -> None:
        """Record that an attempt failed after updates may have been sent; clients discard its state."""
        # Only clients that keep a state have something to discard.
        if self._plan.keeps_state:
            self.voided = (*self.voided, self._plan.sequence(round_index, attempt))

    def start(self, round_index: int, attempt: int = 0) -> RoundStart:
        """The first message to the round's clients."""
        return RoundStart(
            round_index,
            self.codec.encode(self.vector),
            self.clip,
            extras=self.stages.extras,
            attempt=attempt,
            voided=self.voided,
        )

    def apply(
        self, resolution: ResolvedPlan, result: SumResult, round_index: int, roster: int
    ) -> NDArray[np.float64]:
        """Add the server's noise, decode the sum, divide, and take the server's step.

        Args:
            resolution: the resolved plan.
            result: the round's sum.
            round_index: index of the round, from 0.
            roster: number of clients among whom the sum was taken.

        Returns:
            float64[d], the mean update; under random-k, zero at coordinates that were not sent.

        Raises:
            RoundAbortedError: the weights sum to zero; the model did not change.
        """
        # The clip norm and the stages' states change last, so that a step that raises leaves all as it was.
        opened = self.open(resolution, result, roster)
        facts = resolution.facts(round_index)
        mean, states = self.stages.received(facts, opened.total / opened.divisor, opened.divisor)
        self.step(mean, round_index, resolution.num_rounds)
        self.clipper = opened.clipper
        self.stages.commit(states)
        return mean

    def try_out(self, resolution: ResolvedPlan) -> None:
        """Take the server's step of an update of zeros, without keeping anything.

        The stages and the optimiser may be the user's own, and their errors should be found before any
        charge.

        Raises:
            DataError, PlanError: a part raised an error, or returned no model; the message names the part.
        """
        # The user's own optimiser may write into its arrays, so the trial works on copies.
        before = self.vector, self.released, self.optimizer
        self.vector, self.optimizer = self.vector.copy(), copy.deepcopy(self.optimizer)
        mean = np.zeros(self.vector.size)
        if resolution.plan.blocks is None:
            mean, _ = self.stages.received(
                resolution.facts(0), np.zeros(resolution.update_length), 1.0
            )
        self.step(mean, 0, resolution.num_rounds)
        self.vector, self.released, self.optimizer = before

    def release_noise(self, resolution: ResolvedPlan, round_index: int) -> None:
        """Take the step of a round that has no sum: with noise alone.

        Under differential privacy every round without a sum releases such a step.  An unchanged model would
        reveal that the round failed, and one client may decide whether it fails (docs/privacy.md §14).
        """
        self.apply(resolution, silence(resolution), round_index, 1)

    def open(self, resolution: ResolvedPlan, result: SumResult, roster: int) -> DecodedSum:
        """Add the server's noise to one sum and decode it, without changing the model.

        Args:
            resolution: the resolved plan; for a model in blocks, that of the block.
            result: the sum.
            roster: number of clients among whom it was taken.

        Raises:
            RoundAbortedError: the weights sum to zero.
        """
        total = result.total
        stddev = resolution.server_stddev(roster, len(result.survivors))
        if stddev and self._plan.noise is not None:
            total = total + self._plan.noise.sample(stddev, total.size)
        encoding, divisor, clipper = self._plan.encoding, resolution.expected_roster, self.clipper
        # The last coordinate counts updates within the clip norm, under the round's noise; it is no part of
        # the model.
        if clipper is not None:
            count = float(total[-1]) / (2 * resolution.bit_units)
            encoding, total = resolution.encoding_at(clipper.clip_norm), total[:-1]
            clipper = clipper.update(count, divisor)
        if self._plan.weighted:
            total, divisor = total[:-1], float(total[-1])
        # Without noise the number of survivors may be used; under noise it is private, and the divisor is
        # public.
        elif self._plan.noise is None:
            divisor = float(len(result.survivors))
        if divisor <= 0:
            raise RoundAbortedError("the survivors' weights sum to zero")
        return DecodedSum(encoding.decode(total, resolution.update_length), divisor, clipper)

    def step(
        self,
        mean: NDArray[np.float64],
        round_index: int,
        num_rounds: int,
        touched: NDArray[np.bool_] | None = None,
    ) -> None:
        """Take the server's step and release.

        Args:
            mean: float64[d], the mean update; ignored at coordinates that are not `touched`.
            round_index: index of the round, from 0.
            num_rounds: number of rounds in the run.
            touched: bool[d], True at coordinates that have a mean; the others keep model and optimiser state.
                None for all of them.
        """
        rule, progress = self._plan.server_optimizer, Progress(round_index, num_rounds)
        with blamed(lambda: f"the server's optimiser {type(rule).__name__}"):
            vector, state = rule.step(self.vector, mean, self.optimizer, progress)
            # The step is checked before the state is replaced: a bad step leaves the model as it was.
            _check_step(rule, self.vector, vector)
            if touched is not None:
                # Parameters without a sum keep their values, and the optimiser's memory for them stays too.
                vector = np.where(touched, vector, self.vector)
                state = _kept(state, self.optimizer, touched)
            released, optimizer = rule.release(vector, state, progress)
            _check_step(rule, self.vector, released)
        self.vector, self.released, self.optimizer = vector, released, optimizer


def _check_step(
    rule: ServerOptimizer, before: NDArray[np.float64], after: NDArray[np.float64]
) -> None:
    """Refuse a step that gives no model; an optimiser may be the user's own."""
    if np.shape(after) != before.shape:
        raise PlanError(
            f"the server's optimiser {type(rule).__name__} returned an array of shape {np.shape(after)} for "
            f"a model of {before.size:,} parameters: it has to return one number for each parameter"
        )


def _kept(state: State, before: State, touched: NDArray[np.bool_]) -> State:
    """The next state at coordinates that had an update, and the previous one elsewhere."""
    kept = dict(state)
    for name, value in state.items():
        old = before.get(name)
        if isinstance(value, np.ndarray) and isinstance(old, np.ndarray):
            kept[name] = np.where(touched, value, old)
    return kept
