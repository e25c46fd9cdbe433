"""Ckks and Bfv: secure sums under homomorphic encryption, which a key holder decrypts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NoReturn

import he
from fedavg import checks
from fedavg.errors import LocalProtocolError, PlanError, RoundAbortedError
from fedavg.parts import Part, register
from fedavg.sums.assumed import at_most
from fedavg.sums.interface import KEY_HOLDER, Provision
from fedavg.sums.sides.he_keys import HeKeyHolderSide, HeMaterial
from fedavg.sums.sides.opening import OPENED, OpenedSum, read_opened
from fedavg.sums.sides.upload import UploadSession, check_opening, openings
from secagg.params.derivation import rounded_up

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.sums.interface import Conviction, SumSpec
    from secagg import Identity

__all__ = ["Bfv", "Ckks", "HeServerSession", "HeServerSide"]

_OPENING = b"HEO1"
_KEY_AT = {
    "clients": "All clients hold the same secret key: the server together with any one client can read "
    "every update.",
    "holder": "Only the key holder can decrypt, and it is shown sums only. The server together with the "
    "key holder can read every update; a client that follows the protocol cannot read another's.",
}


class _Encrypted(Part, frozen=True):
    """The common part of both schemes; a user chooses `Ckks` or `Bfv`."""

    dropout_rate: float = 0.1
    corrupt_rate: float = 0.1
    key_at: Literal["clients", "holder"] = "clients"

    kind = ""
    scheme: ClassVar[Literal["bfv", "ckks"]]
    hides_updates = True
    upload_word_bits = 64  # words of ciphertexts

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.plan.fraction_below_one("dropout_rate", self.dropout_rate)
        checks.plan.fraction_below_one("corrupt_rate", self.corrupt_rate)
        if self.key_at not in ("clients", "holder"):
            raise PlanError(f"key_at must be 'clients' or 'holder', not {self.key_at!r}")

    @property
    def threat_model(self) -> str:
        """The assumed behaviour of the server."""
        return "honest but curious server that no client helps"

    def received(self, spec: SumSpec) -> str:
        """See `SecureSum.received`."""
        del spec
        return "The words of its ciphertext: without the secret key they are uniform noise."

    def assumptions(self, spec: SumSpec) -> tuple[str, ...]:
        """The assumptions of an encrypted sum."""
        del spec
        return (
            "The server follows the protocol and only looks; the key holder refuses forged sums.",
            _KEY_AT[self.key_at],
            f"{at_most(self.dropout_rate).capitalize()} drop out; beyond that, nothing is opened.",
        )

    def smallest_cohort(self) -> int:
        """Three: with two, each client could compute the other's update from the sum."""
        return 3

    def min_survivors(self, roster_size: int) -> int:
        """The roster without the assumed drop-outs, and at least three."""
        return max(3, roster_size - rounded_up(self.dropout_rate, roster_size))

    def colluders(self, roster_size: int) -> int:
        """The assumed share of corrupt clients, and at least one client."""
        return max(1, rounded_up(self.corrupt_rate, roster_size))

    def params(self, spec: SumSpec) -> he.Params:
        """Encryption parameters for sums over rosters of up to this size."""
        return he.Params.for_sum(
            max(spec.roster_size, 2),
            max_abs=spec.input_bound,
            scheme=self.scheme,
            public_key=self.key_at == "holder",
        )

    def check(self, spec: SumSpec) -> None:
        """Raise he.CapacityError or he.UnsafeParametersError when no parameters exist."""
        self.params(spec)

    def provision(self, spec: SumSpec, directory: Mapping[int, bytes]) -> Provision:
        """Generate the key: the key holder gets it, clients get what `key_at` says, the server gets none."""
        del directory
        params = self.params(spec)
        secret = he.SecretContext.generate(params)
        # With a separate key holder, clients get keys that encrypt and cannot decrypt.
        shared = secret.encryptor() if self.key_at == "holder" else secret

        def material(keys: bytes) -> bytes:
            return HeMaterial(params.to_bytes(), keys).to_bytes()

        return Provision(
            # The server's context has no secret key, so the server cannot decrypt.
            server=secret.public().to_bytes(),
            clients=material(shared.export()),
            key_holder=material(secret.export_secret_key()),
        )

    def server_side(self, material: bytes) -> HeServerSide:
        """Load the server's side: a context without a secret key."""
        return HeServerSide(he.PublicContext.from_bytes(material), self)

    def client_side(self, material: bytes) -> _HeClientSide:
        """Load the clients' side."""
        return _HeClientSide(HeMaterial.from_bytes(material).encrypting(self.key_at))

    def key_holder_side(self, material: bytes) -> HeKeyHolderSide:
        """Load the key holder's side."""
        return HeKeyHolderSide(HeMaterial.from_bytes(material).secret(), self.min_survivors)

    def opener_side(self, material: bytes) -> NoReturn:
        """Raise LocalProtocolError: encrypted sums have no openers."""
        del material
        raise LocalProtocolError("an encrypted sum has no openers")

    def describe(self, message: bytes) -> str:
        """The kind of a message."""
        if message[:4] == _OPENING:
            return "opening"
        if message[:4] == OPENED:
            return "opened sum"
        return {"upload": "encrypted update", "sum": "encrypted sum"}[he.envelope_kind(message)]

    def uploaded(self, message: bytes) -> NDArray[np.uint64] | None:
        """The ciphertext words of an encrypted update."""
        if not message or self.describe(message) != "encrypted update":
            return None
        return he.ciphertext_coefficients(message)


@register("secure_sum")
class Ckks(_Encrypted, frozen=True, tag="ckks"):
    """Exact integer sums under CKKS; the server never holds the secret key.

    Args:
        dropout_rate: largest share of a roster that may drop out.
        corrupt_rate: share of a roster whose noise shares are assumed to be known to others.
        key_at: who holds the secret key. With "clients", all clients hold it and uploads are small. With
            "holder", clients encrypt with a public key and cannot decrypt; an upload then holds both
            parts of each ciphertext.

    Example:
        >>> Ckks().kind
        'ckks'
    """

    kind = "ckks"
    scheme = "ckks"


@register("secure_sum")
class Bfv(_Encrypted, frozen=True, tag="bfv"):
    """Exact integer sums under BFV; the server never holds the secret key.

    Args:
        dropout_rate: largest share of a roster that may drop out.
        corrupt_rate: share of a roster whose noise shares are assumed to be known to others.
        key_at: who holds the secret key. With "clients", all clients hold it and uploads are small. With
            "holder", clients encrypt with a public key and cannot decrypt; an upload then holds both
            parts of each ciphertext.

    Example:
        >>> Bfv().kind
        'bfv'
    """

    kind = "bfv"
    scheme = "bfv"


@dataclass(frozen=True, slots=True)
class HeServerSide:
    """The server's side: a context without a secret key."""

    public: he.PublicContext
    config: _Encrypted

    def session(self, spec: SumSpec, roster: Sequence[int]) -> HeServerSession:
        """Begin one sum over a roster."""
        # Context and length are bound into every upload, so uploads of another round are refused.
        server = he.Server(self.public, context=spec.context, vector_length=spec.vector_length)
        return HeServerSession(server, spec, roster, self.config.min_survivors(len(roster)))


class HeServerSession:
    """The server's part of one encrypted sum: it adds uploads, and then the key holder opens the sum."""

    def __init__(
        self, server: he.Server, spec: SumSpec, roster: Sequence[int], min_survivors: int
    ) -> None:
        self._server = server
        self._spec = spec
        self._roster = frozenset(roster)
        self._min_survivors = min_survivors
        self._stage = "encrypt"
        self._opened: OpenedSum | None = None

    @property
    def stage(self) -> str:
        """The current stage: "encrypt", "open" or "done"."""
        return self._stage

    @property
    def opening(self) -> bool:
        """Whether the session waits for the key holder's answer."""
        return self._stage == "open"

    @property
    def collecting(self) -> bool:
        """Whether the session waits for ciphertexts."""
        return self._stage == "encrypt"

    @property
    def convictions(self) -> tuple[Conviction, ...]:
        """Always empty: clients may share one key, so a message does not prove which client sent it."""
        return ()

    @property
    def contributors(self) -> tuple[int, ...]:
        """The clients whose complete uploads are in the sum."""
        return self._server.contributors

    def open(self) -> dict[int, Sequence[bytes]]:
        """The first messages, by recipient."""
        return openings(_OPENING, self._spec, self._roster)

    def receive(self, sender: int, message: bytes) -> None:
        """Take a chunk of an upload, or the key holder's answer.

        Raises:
            LocalProtocolError, he.HeError: the message is refused; nothing has changed.
        """
        # Only the first answer counts: the key holder opens one sum.
        if sender == KEY_HOLDER and self._stage == "open" and self._opened is None:
            self._opened = read_opened(message, self._spec.vector_length, self.contributors)
        elif sender in self._roster and self._stage == "encrypt":
            self._server.receive(sender, message)
        else:
            raise LocalProtocolError(
                f"party {sender} sent a message that does not belong to this stage"
            )

    def advance(self) -> dict[int, Sequence[bytes]]:
        """Close the stage.

        Raises:
            RoundAbortedError: too few uploads are complete, or the sum was not opened.
        """
        if self._stage == "open":
            if self._opened is None:
                raise RoundAbortedError("the key holder did not open the sum")
            self._stage = "done"
            return {}
        # Below the floor the sum is not even sent to the key holder, who would refuse it.
        if len(self.contributors) < self._min_survivors:
            raise RoundAbortedError(
                f"{len(self.contributors)} clients answered and {self._min_survivors} are needed"
            )
        self._stage = "open"
        return {KEY_HOLDER: tuple(self._server.result())}

    def result(self) -> OpenedSum:
        """The sum; raises LocalProtocolError before the key holder has opened it."""
        if self._opened is None or self._stage != "done":
            raise LocalProtocolError("the sum has not been opened yet")
        # All secure sums reduce in the same way, so that their results are equal to the bit.
        return OpenedSum(self._spec.reduce(self._opened.total), self._opened.survivors)


@dataclass(frozen=True, slots=True)
class _HeClientSide:
    keys: he.SecretContext | he.EncryptContext

    def session(
        self, spec: SumSpec, client_id: int, identity: Identity, opening: bytes
    ) -> UploadSession:
        del identity
        # A client encrypts nothing before it has seen that the sum is about its own round and model.
        check_opening(_OPENING, spec, opening)
        client = he.Client(self.keys, client_id, context=spec.context)
        return UploadSession(spec, client.encrypt)
