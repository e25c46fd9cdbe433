"""OneShot as a part of a plan: its assumptions, its parameters, and the sides of each role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NoReturn

import msgspec

import secagg
from fedavg.errors import LocalProtocolError, PlanError
from fedavg.parts import Part, register
from fedavg.sums.interface import SumSpec
from fedavg.sums.masked import SecAgg
from fedavg.sums.one_shot.masked import MaskedKeysClientSide, MaskedKeysServerSide
from he import Directory, onetime

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.sums.interface import Provision

__all__ = ["OneShot"]

_WAYS = ("secagg",)
_IMPROPER = (
    "A client that sends no proper ciphertext leaves the round without a sum and is not named, since nothing "
    "proves that ciphertexts are well formed."
)


@register("secure_sum")
class OneShot(Part, frozen=True, tag="one-shot"):
    """Sums of ciphertexts, each under its client's own key for this sum; only the sum of the keys opens.

    Whatever the length of the model, a second protocol adds short vectors only: the keys, a few thousand
    integers of five bits each. With `keys="secagg"` it is `SecAgg` among the clients of the round.

    Args:
        dropout_rate: largest share of a roster that may drop out, at any time.
        corrupt_rate: largest share of a roster that may collude with the server.
        keys: who adds the keys: "secagg", the clients themselves under pairwise masks.

    Example:
        >>> import numpy as np
        >>> from fedavg import sum_once
        >>> vectors = {client: np.array([client, -7]) for client in range(1, 6)}
        >>> sum_once(OneShot(), vectors, max_abs=9, context=b"an example").total
        array([ 15, -35])
    """

    dropout_rate: float = 0.1
    corrupt_rate: float = 0.1
    keys: Literal["secagg"] = "secagg"

    kind = "one-shot"
    hides_updates = True
    upload_word_bits = 64  # words of ciphertexts

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keys not in _WAYS:
            raise PlanError(f"keys must be {' or '.join(map(repr, _WAYS))}, not {self.keys!r}")
        self.masks  # noqa: B018 - its own checks of the rates

    @property
    def masks(self) -> SecAgg:
        """The inner secure sum, of keys."""
        return SecAgg(self.dropout_rate, self.corrupt_rate)

    @property
    def threat_model(self) -> str:
        """The assumed behaviour of the server."""
        return self.masks.threat_model

    @property
    def received(self) -> str:
        """See `SecureSum.received`."""
        return (
            "The words of a ciphertext under a key of the client's own: uniform noise without that key, of "
            "which the server learns the sum over all clients only."
        )

    @property
    def assumptions(self) -> tuple[str, ...]:
        """The assumptions behind the sum of keys, and the one that the keys hide the updates."""
        return (
            *self.masks.assumptions,
            "Ring-LWE is hard for keys of which one sum is known (docs/he.md has the theorem).",
            _IMPROPER,
        )

    def smallest_cohort(self) -> int:
        """The number that the sum of keys needs."""
        return self.masks.smallest_cohort()

    def min_survivors(self, roster_size: int) -> int:
        """The number that the sum of keys needs."""
        return self.masks.min_survivors(roster_size)

    def colluders(self, roster_size: int) -> int:
        """The number that the sum of keys assumes."""
        return self.masks.colluders(roster_size)

    def params(self, spec: SumSpec) -> onetime.Params:
        """Encryption parameters of one roster."""
        # The library makes parameters for at least two summands.
        return onetime.Params(max(spec.roster_size, 2), spec.input_bound, spec.vector_length)

    def key_spec(self, spec: SumSpec) -> SumSpec:
        """The sum of the keys, under the context of the sum of the vectors."""
        length = self.params(spec).degree
        return SumSpec(length, onetime.KEY_BOUND, None, spec.roster_size, spec.context)

    def check(self, spec: SumSpec) -> None:
        """Raise the errors of he and secagg when no parameters exist."""
        self.masks.check(self.key_spec(spec))

    def provision(self, spec: SumSpec, directory: Mapping[int, bytes]) -> Provision:
        """Give every role the directory of public identities; there are no keys to make beforehand."""
        return self.masks.provision(spec, directory)

    def server_side(self, material: bytes) -> MaskedKeysServerSide:
        """Load the server's side: the directory."""
        enrolled = Directory(msgspec.msgpack.decode(material, type=dict[int, bytes]))
        return MaskedKeysServerSide(self, self.masks.server_side(material), enrolled)

    def client_side(self, material: bytes) -> MaskedKeysClientSide:
        """Load the clients' side: the pinned directory."""
        return MaskedKeysClientSide(self, self.masks.client_side(material))

    def key_holder_side(self, material: bytes) -> NoReturn:
        """Raise LocalProtocolError: no party holds a key that opens these sums."""
        del material
        raise LocalProtocolError("one-shot has no key holder")

    def describe(self, message: bytes) -> str:
        """The kind of a message, from its header."""
        return "encrypted update" if onetime.is_upload(message) else secagg.message_kind(message)

    def uploaded(self, message: bytes) -> NDArray[np.uint64] | None:
        """The words of an upload's ciphertexts."""
        return onetime.upload_words(message) if onetime.is_upload(message) else None
