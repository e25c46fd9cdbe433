"""One silo in a run: bytes in, bytes out. It draws, clips, rounds, adds noise, and charges its own ledger.

Nothing that leaves depends on who was drawn, except the noisy sum under the secure sum: the messages have
fixed lengths, an empty draw is sent like any other, and a unit whose gradient fails counts as zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from dp import BudgetExhaustedError, SharedLedger
from fedavg.errors import LocalProtocolError
from fedavg.protocol.agreement import agreed_spec
from fedavg.protocol.messages import (
    Ready,
    RoundStart,
    SumMessage,
    SumOpen,
    decode,
    encode,
    start_digest,
)
from fedavg.records.clipped.contained import contained_sum
from fedavg.robust.deal import group_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from dp import Ledger
    from fedavg.models.layout import Layout
    from fedavg.records.clipped.gradients import Gradients
    from fedavg.records.resolution import ResolvedRecords
    from fedavg.records.table import UnitTable
    from fedavg.sums.interface import ClientSession, ClientSide
    from secagg import Identity

__all__ = ["SiloParty", "SiloSetting", "rounded"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SiloSetting:
    """What a silo knows beside its own table; the silos of one process share it.

    Args:
        resolution: the resolved plan, as agreed at enrolment.
        side: the silos' material of the secure sum.
        gradients: gradients of units, and the module that they are computed with.
        layout: layout of the module's trained parameters.
        members: ids of all enrolled silos, by which they are dealt to groups.
    """

    resolution: ResolvedRecords
    side: ClientSide
    gradients: Gradients
    layout: Layout
    members: tuple[int, ...] = ()


def rounded(total: NDArray[np.float64], scale: float, clamp: int) -> NDArray[np.int64]:
    """Round a silo's sum to the grid, to the nearest integers, and clamp it to a public range.

    Two sums that differ by a vector v give integers that differ by at most ‖v‖·scale + √d in norm: rounding
    moves each coordinate of the difference by at most 1, and clamping moves no two numbers apart. Rounding
    that is repeated until the result is short, as `FixedPoint` does for one client's update, has no such
    bound for a sum.

    Args:
        total: float64[d].
        scale: grid units in one unit, a power of two.
        clamp: the largest magnitude of a coordinate, in grid units.

    Example:
        >>> rounded(np.array([0.26, -0.24, 99.0]), 4.0, 100).tolist()
        [1, -1, 100]
    """
    return np.clip(np.rint(total * scale), -clamp, clamp).astype(np.int64)


class SiloParty:
    """One silo: it answers the server's messages, and takes part in one attempt at a time.

    Args:
        silo_id: id of the silo.
        table: the silo's units.
        identity: the silo's signing identity.
        setting: what it shares with others.
        ledger: the budget of the silo's units; each attempt is charged before the silo's vector leaves.
        label: owner of the charges, for readers of a ledger that several runs share.
    """

    def __init__(
        self,
        silo_id: int,
        table: UnitTable,
        identity: Identity,
        setting: SiloSetting,
        ledger: Ledger | SharedLedger,
        *,
        label: str = "",
    ) -> None:
        self.silo_id = silo_id
        self.attempts = 0
        self.exhausted = False
        self.troubles: list[str] = []
        self._table, self._identity, self._setting = table, identity, setting
        self._ledger, self._label = ledger, label
        self._last = (-1, 0)
        self._vector: NDArray[np.int64] | None = None
        self._digest = b""
        self._session: ClientSession | None = None
        self._charged = False

    def __repr__(self) -> str:
        return f"SiloParty({self.silo_id}, <redacted>)"

    def __reduce__(self) -> NoReturn:
        raise LocalProtocolError("a silo holds private records and a key: it cannot be pickled")

    def handle(self, message: bytes) -> Sequence[bytes]:
        """Answer one message of the server.

        Raises:
            WireFormatError, LocalProtocolError: the bytes are no message, or the message is not awaited.
            dp.BudgetExhaustedError: the silo's ledger has no room for another attempt; nothing left it.
            secagg.SecAggError, he.HeError: the secure sum refuses the message.
        """
        decoded = decode(message)
        # The protocol's own closed set of messages.
        match decoded:
            case RoundStart():
                return self._begin(decoded)
            case SumOpen():
                return self._open(decoded)
            case SumMessage() if self._session is not None:
                self._check(decoded.round, decoded.attempt)
                return self._sent(self._session, self._session.receive(decoded.payload))
            case _:
                raise LocalProtocolError(f"silo {self.silo_id} awaits no such message now")

    def _check(self, step: int, attempt: int) -> None:
        if (step, attempt) != self._last:
            raise LocalProtocolError(
                f"silo {self.silo_id} is in step {self._last[0]} (attempt {self._last[1]}), not {step} "
                f"({attempt})"
            )

    def _begin(self, start: RoundStart) -> Sequence[bytes]:
        resolution = self._setting.resolution
        # Steps and attempts only go up: no earlier message can be replayed for a second sum of one step.
        if (start.round, start.attempt) <= self._last:
            raise LocalProtocolError(
                f"silo {self.silo_id} was in step {start.round}, attempt {start.attempt}, before"
            )
        if not 0 <= start.round < resolution.plan.steps:
            raise LocalProtocolError(f"the plan has no step {start.round}")
        model, rule = self._setting.layout.size, resolution.clipping
        if len(start.model) != 4 * (model + rule.coordinates):
            raise LocalProtocolError(f"the server's model does not hold {model} parameters")
        sent = np.frombuffer(start.model, dtype="<f4")
        clip = rule.given(sent[model:])
        self._check_group(start)
        self._last, self._vector, self._session = (start.round, start.attempt), None, None
        self._charged = False
        self._check_room()
        self._digest = start_digest(start)
        self._vector = self._noiseless_or_update(sent[:model], clip)
        return (encode(Ready(*self._last)),)

    def _check_group(self, start: RoundStart) -> None:
        """Refuse a group that is not this silo's: the deal is public, and the server has no say in it."""
        rule, own = self._setting.resolution.plan.robust, None
        if rule is not None:
            own = group_of(self.silo_id, self._setting.members, rule.groups, start.round)
        if start.block != own:
            raise LocalProtocolError(
                f"silo {self.silo_id} is in group {own} of step {start.round}, not {start.block}"
            )

    def _noiseless_or_update(self, vector: NDArray[np.float32], clip: float) -> NDArray[np.int64]:
        """The rounded sum of one draw, without noise; or, of several draws, the update of noisy steps."""
        resolution = self._setting.resolution
        if not resolution.sends_updates:
            return self._drawn_sum(vector, clip)
        privacy, account = resolution.plan.privacy, resolution.account
        moved = vector.astype(np.float64)
        stddev = account.share_stddev(1)
        # One silo's part of the public divisor.
        divisor = resolution.plan.divisor / resolution.silos
        rate = (privacy.local_lr or 0.0) / (divisor * resolution.scale)
        for _ in range(privacy.local_steps):
            noised = self._drawn_sum(moved, clip) + account.noise.sample(stddev, moved.size)
            moved = moved - rate * noised
        # What is computed from noisy gradients needs no further protection; clamping keeps the sum exact.
        change = np.nan_to_num(moved - vector)
        return rounded(change, resolution.update_scale, resolution.update_bound)

    def _drawn_sum(self, vector: NDArray[np.floating], clip: float) -> NDArray[np.int64]:
        """The rounded vector of one draw, as it is summed over the silos, without noise."""
        resolution, gradients = self._setting.resolution, self._setting.gradients
        rule, length, batch = (
            resolution.clipping,
            resolution.summed_length,
            resolution.plan.micro_batch,
        )
        total = np.zeros(length)
        gradients.at(vector)
        # A silo that fell silent would show that its data are unusual, so an error stays in its own log.
        for units in self._table.draw(resolution.most_units, batch):
            found, error = contained_sum(
                gradients, units, clip, length, balanced=rule.coordinates > 0
            )
            total += found
            if error is not None:
                self.troubles.append(f"step {self._last[0]}: {type(error).__name__}: {error}")
        return rounded(rule.vector(total, clip), resolution.scale, resolution.clamp)

    def _open(self, message: SumOpen) -> Sequence[bytes]:
        self._check(message.round, message.attempt)
        # The vector is taken away here, so that one draw enters at most one sum.
        vector, self._vector = self._vector, None
        if vector is None:
            raise LocalProtocolError(f"silo {self.silo_id} has no sum for this step")
        # The silo checks the roster itself: in a smaller one too little honest noise would be guaranteed.
        resolution = self._setting.resolution
        spec = agreed_spec(resolution, message.round, message.roster_size, self._digest)
        session = self._setting.side.session(spec, self.silo_id, self._identity, message.opening)
        # The share of noise follows from the size that is bound into the session, not from the message.
        session.set_input(self._noised(vector, session.roster_size))
        self._session = session
        return self._sent(session, session.start())

    def _noised(self, vector: NDArray[np.int64], roster: int) -> NDArray[np.int64]:
        resolution = self._setting.resolution
        if resolution.sends_updates:  # its noise is in the steps
            return vector
        account = resolution.account
        return vector + account.noise.sample(account.share_stddev(roster), vector.size)

    def _sent(self, session: ClientSession, replies: Sequence[bytes]) -> Sequence[bytes]:
        """Wrap the session's messages; those that carry the vector only once the attempt is charged."""
        if session.left and not self._charged:
            self._charge()
        step, attempt = self._last
        return tuple(encode(SumMessage(step, reply, attempt)) for reply in replies)

    def _charge(self) -> None:
        account = self._setting.resolution.account
        try:
            if not self.attempts:  # the samplers' errors, for all steps at once
                failure = account.failure(self._setting.resolution.plan.steps)
                self._ledger.charge(failure, label=self._label)
            self._ledger.charge(account.budget_event(), account.draws, label=self._label)
        except BudgetExhaustedError:
            self.exhausted, self._session = True, None
            raise
        self._charged = True
        self.attempts += 1

    def _check_room(self) -> None:
        """Refuse an attempt that the ledger has no room for before other silos are charged for it."""
        account = self._setting.resolution.account
        present = self._ledger.read() if isinstance(self._ledger, SharedLedger) else self._ledger
        if present.would_exceed(account.budget_event(), account.draws):
            self.exhausted = True
            raise BudgetExhaustedError(
                f"silo {self.silo_id} has no budget left for another attempt of {account.draws} draws"
            )

    def spent(self) -> float:
        """ε of the silo's ledger so far, with all that earlier runs charged to it."""
        high = self._ledger.upper_spent()
        return high if math.isfinite(high) else math.inf
