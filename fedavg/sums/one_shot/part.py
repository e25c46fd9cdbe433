"""OneShot as a part of a plan: its assumptions, its parameters, and the sides of each role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn

from fedavg import checks
from fedavg.errors import LocalProtocolError, PlanError
from fedavg.parts import Part, register
from fedavg.sums.interface import SumSpec
from fedavg.sums.one_shot.committee import EPOCH_ROUNDS, CommitteeKeys
from fedavg.sums.one_shot.direct import direct_words
from fedavg.sums.one_shot.draw import Draw
from fedavg.sums.one_shot.uploads import Uploads
from he import onetime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.sums.interface import ClientSide, OpenerSide, Provision, ServerSide
    from fedavg.sums.one_shot.key_sums import KeySum
    from fedavg.sums.one_shot.known import KnownCommittee
    from secagg.committee import Committee

__all__ = ["OneShot"]

_HARD = "Ring-LWE is hard for keys of which one sum is known (docs/he.md has the theorem)."
_IMPROPER = (
    "A client that sends no proper ciphertext leaves the round without a sum and is not named, since nothing "
    "proves that ciphertexts are well formed."
)


_RECEIVED = {
    False: "The words of a ciphertext under a key of the client's own: uniform noise without that key, of "
    "which the server learns the sum over all clients only.",
    True: "Shares of the update, each sealed to one member of the committee: the server opens none of them, "
    "and learns the sum over all clients only.",
}
"""What the server receives, by whether the vector itself is shared."""


@register("secure_sum")
class OneShot(Part, frozen=True, tag="one-shot"):
    """Sums of ciphertexts, each under its client's own key for this sum; only the sum of the keys opens.

    For a model of any length, a second protocol adds short vectors only: the keys, a few thousand
    integers of five bits each. With `keys="committee"` a client sends one message, which holds its
    ciphertexts and shares of its key for the members of a committee; they open only the sum of the keys of
    one set of clients. A short vector is shared among the members itself, without ciphertexts, where this
    takes fewer bytes: up to some two thousand coordinates. With `keys="secagg"` the clients of the round add
    their keys by `SecAgg`.

    Args:
        dropout_rate: largest share of a roster that may drop out, at any time.
        corrupt_rate: largest share of a roster that may collude with the server.
        keys: who adds the keys: "committee" or "secagg", with which the further arguments have no effect.
        committee: number of members, who are pinned when the run begins; in a run they have keys of their
            own, also where they are drawn.
        corrupt_members: largest number of them that may collude with the server.
        absent_members: number of them that may be absent at any time.
        epoch_rounds: number of rounds for which a member's sealing key serves, and after which it is erased.
            Keys that are stolen later open none of these rounds.
        drawn: a value by which the members are drawn from the clients, such as that of a public beacon; ""
            for members that are named. It must become known after the clients were enrolled, and nobody may
            choose it or try several. `corrupt_members` is then at least the number that the exact tail of the
            draw gives at 2^−40, if `corrupt_rate` of all clients are corrupt.
        candidates: number of all clients, where `drawn` is given.

    Example:
        >>> import numpy as np
        >>> from fedavg import sum_once
        >>> vectors = {client: np.array([client, -7]) for client in range(1, 6)}
        >>> sum_once(OneShot(), vectors, max_abs=9, context=b"an example").total
        array([ 15, -35])
        >>> sum_once(OneShot(keys="secagg"), vectors, max_abs=9, context=b"another").total
        array([ 15, -35])
    """

    dropout_rate: float = 0.1
    corrupt_rate: float = 0.1
    keys: Literal["committee", "secagg"] = "committee"
    committee: int = 20
    corrupt_members: int = 2
    absent_members: int = 3
    epoch_rounds: int = EPOCH_ROUNDS
    drawn: str = ""
    candidates: int = 0

    kind = "one-shot"
    hides_updates = True
    upload_word_bits = 64  # words of ciphertexts

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.plan.fraction_below_one("dropout_rate", self.dropout_rate)
        checks.plan.fraction_below_one("corrupt_rate", self.corrupt_rate)
        if self.epoch_rounds < 1:
            raise PlanError(
                f"epoch_rounds must be at least 1, not {self.epoch_rounds}: each round needs a sealing key"
            )
        if self.keys not in _WAYS:
            raise PlanError(f"keys must be {' or '.join(map(repr, _WAYS))}, not {self.keys!r}")
        if bool(self.drawn) != bool(self.candidates):
            raise PlanError(
                "drawn is the value by which a committee is drawn, and candidates the number of all clients: "
                "give both or none"
            )
        if self.drawn and self.keys != "committee":
            raise PlanError("drawn is about a committee, and keys='secagg' has none: take it out")
        self._way.check_rates()

    @property
    def _way(self) -> KeySum:
        """The sum of keys."""
        members = (self.committee, self.corrupt_members, self.absent_members)
        rates = self.dropout_rate, self.corrupt_rate
        return _WAYS[self.keys](*rates, members, self.epoch_rounds, self._draw)

    @property
    def _draw(self) -> Draw | None:
        return Draw(self.drawn, self.candidates, self.corrupt_rate) if self.drawn else None

    @property
    def _uploads(self) -> Uploads:
        return Uploads(self.params, self.key_spec)

    @property
    def threat_model(self) -> str:
        """The assumed behaviour of the server."""
        return self._way.threat_model

    @property
    def survives_processes(self) -> bool:
        """Whether no party needs its memory between two messages."""
        return self._way.survives_processes

    def received(self, spec: SumSpec) -> str:
        """See `SecureSum.received`: ciphertexts, or for short vectors sealed shares of the vector itself."""
        return _RECEIVED[self._way.shares(self._uploads, spec)]

    def assumptions(self, spec: SumSpec) -> tuple[str, ...]:
        """Those of the sum of keys, and where there are ciphertexts, that the keys hide the updates."""
        lattice = () if self._way.shares(self._uploads, spec) else (_HARD, _IMPROPER)
        return (*self._way.assumptions, *lattice)

    def smallest_cohort(self) -> int:
        """The number that the sum of keys needs."""
        return self._way.smallest_cohort()

    def min_survivors(self, roster_size: int) -> int:
        """The number that the sum of keys needs."""
        return self._way.min_survivors(roster_size)

    def colluders(self, roster_size: int) -> int:
        """The number that the sum of keys assumes."""
        return self._way.colluders(roster_size)

    def params(self, spec: SumSpec) -> onetime.Params:
        """Encryption parameters of one roster."""
        # The library makes parameters for at least two summands.
        return onetime.Params(max(spec.roster_size, 2), spec.input_bound, spec.vector_length)

    def key_spec(self, spec: SumSpec) -> SumSpec:
        """The sum of the keys, under the context of the sum of the vectors."""
        length = self.params(spec).degree
        return SumSpec(length, onetime.KEY_BOUND, None, spec.roster_size, spec.context)

    def check(self, spec: SumSpec) -> None:
        """Raise the errors of he and secagg when no parameters exist, or PlanError for too large a roster."""
        if self._draw and spec.roster_size > self.candidates:
            raise PlanError(
                f"a sum over {spec.roster_size} clients, and candidates={self.candidates} is the number of "
                "all clients: say how many there are, or ask fewer"
            )
        self._way.check(self.key_spec(spec))

    def check_population(self, size: int) -> None:
        """Raise PlanError when the committee is to be drawn from another number of clients."""
        if self._draw:
            self._draw.check_population(size)

    def provision(self, spec: SumSpec, directory: Mapping[int, bytes]) -> Provision:
        """Give every role the directory of public identities, and the members of the committee their keys."""
        return self._way.provision(directory, spec.round + 1)

    def server_side(self, material: bytes) -> ServerSide:
        """Load the server's side: public identities."""
        return self._way.server_side(self._uploads, material)

    def client_side(self, material: bytes) -> ClientSide:
        """Load the clients' side: public identities."""
        return self._way.client_side(self._uploads, material)

    def key_holder_side(self, material: bytes) -> NoReturn:
        """Raise LocalProtocolError: no party holds a key that opens these sums."""
        del material
        raise LocalProtocolError("one-shot has no key holder")

    def opener_side(self, material: bytes) -> OpenerSide:
        """Load one member of the committee; raises LocalProtocolError without one."""
        return self._way.opener_side(self._uploads, material)

    def drawn_from(self, clients: Mapping[int, bytes]) -> tuple[int, ...]:
        """The ids of the members that are drawn from these clients; () for members that are named.

        Args:
            clients: id to identity of all clients.

        Raises:
            PlanError: there are not `candidates` clients.
        """
        return self._draw.members(clients, self.committee) if self._draw else ()

    def among(self, committee: Committee, clients: Mapping[int, bytes]) -> KnownCommittee:
        """The sides of all roles under one committee, where no dealer makes anybody's keys.

        Args:
            committee: the members with their sealing keys, in an epoch that is not over.
            clients: identities of the clients.

        Raises:
            LocalProtocolError: no committee adds these keys.
        """
        return self._way.among(self._uploads, committee, clients)

    def describe(self, message: bytes) -> str:
        """The kind of a message, from its header."""
        if onetime.is_upload(message):
            return "encrypted update"
        return self._way.describe(message)

    def uploaded(self, message: bytes) -> NDArray[np.uint64] | None:
        """The words of an upload's ciphertexts, or of the sealed shares of a vector."""
        return (
            onetime.upload_words(message) if onetime.is_upload(message) else direct_words(message)
        )


def _masked_keys(
    dropout_rate: float,
    corrupt_rate: float,
    members: tuple[int, int, int],
    epoch_rounds: int,
    draw: Draw | None,
) -> KeySum:
    """The sum of keys by `SecAgg`, which a process for one message of a committee does not load."""
    from fedavg.sums.one_shot.masked import MaskedKeys  # noqa: PLC0415 - loads the pairwise masks

    return MaskedKeys(dropout_rate, corrupt_rate, members, epoch_rounds, draw)


_WAYS: Mapping[str, Callable[[float, float, tuple[int, int, int], int, Draw | None], KeySum]] = {
    "committee": CommitteeKeys,
    "secagg": _masked_keys,
}
