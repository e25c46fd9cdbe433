"""The contract of an update stage: lengths on which both halves agree, and declared state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedavg.algorithms.interface import RoundFacts, named_state
from fedavg.errors import LocalProtocolError, PlanError
from fedavg.optimizers.local import LocalTraining
from fedavg.testing.parts import check_travels, require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fedavg.algorithms.interface import ClientHalf, UpdateStage
    from fedavg.algorithms.state import ClientState

__all__ = ["UpdateStageContract"]


class UpdateStageContract:
    """Tests of a stage: inherit it, and let `part` return your stage.

    The suite runs both halves without a federation.  It cannot show how a stage changes the sensitivity,
    beyond the length that it declares.

    Example:
        >>> from fedavg import RandomK
        >>> class Forgetful(RandomK, frozen=True, tag="forgetful-example"):
        ...     remembers = True
        >>> class TestForgetful(UpdateStageContract):
        ...     def part(self):
        ...         return Forgetful(0.5)
        >>> TestForgetful().test_clients_send_the_declared_length()
        >>> TestForgetful().test_memory_is_declared()
        Traceback (most recent call last):
        AssertionError: remembers is True, kept []
    """

    training = LocalTraining(lr=0.1)
    """Training at the clients; the stage must work with it."""

    lengths: tuple[int, ...] = (1, 7, 64)

    def part(self) -> UpdateStage:
        """Return the stage to test."""
        raise PlanError("stage suite: define part(self), which returns the stage to test")

    def _facts(self, length: int, round_index: int = 0) -> RoundFacts:
        return RoundFacts(round_index, 5, 20, length, self.training, examples=3)

    def _half(
        self, length: int, round_index: int = 0, kept: ClientState | None = None
    ) -> ClientHalf:
        stage = self.part()
        extra = stage.broadcast(stage.init(length))
        return stage.client(self._facts(length, round_index), extra, kept or {})

    def _update(self, length: int) -> NDArray[np.float64]:
        return np.linspace(-1.0, 1.0, length + 1)[1:]

    def test_it_travels_in_a_plan(self) -> None:
        """A plan with the stage has a digest and can be rebuilt in another process."""
        check_travels("stages", (self.part(),))

    def test_clients_send_the_declared_length(self) -> None:
        """`sent` returns vectors of the length `sent_length`, in every round."""
        for length in self.lengths:
            for index in range(3):
                sent = self._half(length, index).sent(self._update(length))
                declared = self.part().sent_length(length, self.training)
                require(
                    sent.shape == (declared,),
                    f"{sent.size} numbers were sent, but {declared} were declared",
                )
                require(bool(np.isfinite(sent).all()), "what is sent is not finite")

    def test_both_halves_return_to_the_update_s_space(self) -> None:
        """The server's mean and the client's own view of what arrived have the update's length."""
        stage = self.part()
        for length in self.lengths:
            half, state = self._half(length), stage.init(length)
            sent = half.sent(self._update(length))
            arrived = half.arrived(sent)
            mean, after = stage.received(self._facts(length), sent, 1.0, state)
            require(arrived.shape == mean.shape == (length,), "a half returns another length")
            require((state is None) == (after is None), "the server's state appears or vanishes")
            if state is not None and after is not None:
                require(
                    state.shape == after.shape == (length,), "the server's state is float64[length]"
                )

    def test_arguments_are_left_as_they_were(self) -> None:
        """Updates and states are not modified in place."""
        stage = self.part()
        for length in self.lengths:
            update, state = self._update(length), stage.init(length)
            before = None if state is None else state.copy()
            half = self._half(length)
            sent = half.sent(update)
            require(np.array_equal(update, self._update(length)), "`sent` changes the update")
            copy = sent.copy()
            stage.received(self._facts(length), sent, 1.0, state)
            require(np.array_equal(sent, copy), "`received` changes the mean")
            unchanged = state is None or before is None or np.array_equal(state, before)
            require(unchanged, "`received` changes the server's state in place")

    def test_memory_is_declared(self) -> None:
        """A client keeps a state if and only if `remembers` is true, and a later round can use it."""
        stage = self.part()
        for length in self.lengths:
            half = self._half(length)
            sent = half.sent(self._update(length))
            kept = half.keep(sent, sent)
            require(
                bool(kept) == stage.remembers,
                f"remembers is {stage.remembers}, kept {sorted(kept)}",
            )
            named = {f"{stage.kind}.{name}": array for name, array in kept.items()}
            require(named_state(stage, named).keys() == dict(kept).keys(), "names collide")
            # The state of the first round goes into the second, as a client's store does it.
            again = self._half(length, 1, kept).sent(self._update(length))
            require(bool(np.isfinite(again).all()), "the second round is not finite")

    def test_corrections_are_declared(self) -> None:
        """Gradients are corrected if and only if `corrects` is true."""
        for length in self.lengths:
            found = self._half(length).correction
            require(
                (found is not None) == self.part().corrects, "`corrects` and `correction` disagree"
            )
            if found is not None:
                require(found.shape == (length,), "a correction is float64[length]")

    def test_a_broken_broadcast_is_refused(self) -> None:
        """A client refuses a broadcast that is missing or too short, if the server broadcasts anything."""
        stage = self.part()
        extra = stage.broadcast(stage.init(64))
        for given in () if extra is None else (None, extra[:-1]):
            try:
                stage.client(self._facts(64), given, {})
            except LocalProtocolError:
                continue
            raise AssertionError(
                f"a broadcast of {None if given is None else len(given)} bytes was accepted"
            )
