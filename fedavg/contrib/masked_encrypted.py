"""EncryptedSecAgg: pairwise masks under homomorphic encryption, so that two protections hide each update.

Clients run secagg unchanged, but encrypt their masked words before sending them.  The server adds the
ciphertexts, the key holder opens the sum of masked words, and the server removes the masks from that sum as
usual.

All that encryption adds to secagg's messages is a function of masked words and keys.  Therefore an attacker
who steals every encryption key learns no more than secagg's guarantee allows.  While the key is not
disclosed, the words stay hidden even if all masks are known.  Clients sign ciphertexts with their secagg
identities, and the key holder opens a sum only when every contributor is enrolled and has signed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NoReturn

import msgspec
import numpy as np

import he
import secagg
from fedavg.errors import CapacityError, LocalProtocolError, PlanError, RoundAbortedError
from fedavg.parts import Part, register
from fedavg.sums.interface import KEY_HOLDER, Provision
from fedavg.sums.masked import STAGES, SecAgg, convictions_of
from fedavg.sums.sides.he_keys import HeKeyHolderSide, HeMaterial
from fedavg.sums.sides.opening import OPENED, OpenedSum, read_opened

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fedavg.sums.interface import ClientSession, Conviction, SumSpec
    from fedavg.sums.masked import SecAggClientSide

__all__ = ["EncryptedSecAgg"]

_KEY_HOLDER = (
    "The key holder is trusted with the correctness of the sum, not with its content: it sees masked words "
    "only. It could shift the sum without knowing it, as any client could."
)
_SIGNED = (
    b"HEM1"  # also holds the signature of a masked input, before its words: quorums of neighbours
)
_ENCRYPTED = {"upload": "encrypted masked input", "sum": "encrypted sum of masked words"}


@register("secure_sum")
class EncryptedSecAgg(Part, frozen=True, tag="encrypted-secagg"):
    """Masked vectors (secagg) that are added under encryption (he): two protections with separate keys.

    Args:
        dropout_rate: largest share of a roster that may drop out, at any time.
        corrupt_rate: largest share of a roster that may collude with the server *and* the key holder.
        threat_model: threat model of the masks; see `SecAgg`.
        scheme: "bfv" or "ckks".
        key_at: who holds the secret key. With "holder", clients encrypt with a public key and cannot
            decrypt. With "clients", all clients hold it: uploads have half the size or less, but any
            client can undo the encryption, and only the masks remain.

    Example:
        >>> EncryptedSecAgg().kind
        'encrypted-secagg'
    """

    dropout_rate: float = 0.1
    corrupt_rate: float = 0.1
    threat_model: Literal["malicious", "semi-honest", "malicious-local"] = "malicious"
    scheme: Literal["bfv", "ckks"] = "bfv"
    key_at: Literal["holder", "clients"] = "holder"

    kind = "encrypted-secagg"
    hides_updates = True
    upload_word_bits = 64  # words of ciphertexts

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scheme not in ("bfv", "ckks"):
            raise PlanError(f"scheme must be 'bfv' or 'ckks', not {self.scheme!r}")
        if self.key_at not in ("holder", "clients"):
            raise PlanError(f"key_at must be 'holder' or 'clients', not {self.key_at!r}")
        self.masks  # noqa: B018 - its own checks of the rates and the model

    @property
    def masks(self) -> SecAgg:
        """The inner secure sum, of masked vectors."""
        return SecAgg(self.dropout_rate, self.corrupt_rate, self.threat_model)

    def received(self, spec: SumSpec) -> str:
        """See `SecureSum.received`."""
        del spec
        return (
            "The words of a ciphertext: uniform noise without the secret key, and with it a vector under "
            "pairwise masks, uniform as well."
        )

    def assumptions(self, spec: SumSpec) -> tuple[str, ...]:
        """The assumptions of each of the two protections."""
        who = {
            "holder": "Only the key holder can decrypt. As long as it does not help, a server that follows "
            "the protocol reads no update even if it knows every mask.",
            "clients": "All clients hold the same secret key: if a client helps the server, the masks alone "
            "protect.",
        }[self.key_at]
        return (
            *self.masks.assumptions(spec),
            "The assumptions on the masks suffice, even if everybody has the encryption key.",
            who,
            _KEY_HOLDER,
        )

    def smallest_cohort(self) -> int:
        """The number that the masks need."""
        return self.masks.smallest_cohort()

    def min_survivors(self, roster_size: int) -> int:
        """The number that the masks need."""
        return self.masks.min_survivors(roster_size)

    def colluders(self, roster_size: int) -> int:
        """The number that the masks assume."""
        return self.masks.colluders(roster_size)

    def params(self, spec: SumSpec) -> he.Params:
        """Encryption parameters for sums of masked words over rosters of up to this size."""
        return he.Params.for_sum(
            # The library makes parameters for at least two summands.
            max(spec.roster_size, 2),
            ring_bits=self.masks.params(spec).ring_bits,
            scheme=self.scheme,
            public_key=self.key_at == "holder",
        )

    def check(self, spec: SumSpec) -> None:
        """Raise the errors of secagg and he when no parameters exist."""
        self.params(spec)

    def provision(self, spec: SumSpec, directory: Mapping[int, bytes]) -> Provision:
        """Generate the key: the key holder gets it, clients get what `key_at` says, the server gets none."""
        params = self.params(spec)
        secret = he.SecretContext.generate(params)
        pinned = self.masks.provision(spec, directory).clients
        shared = secret.encryptor() if self.key_at == "holder" else secret

        def material(keys: bytes) -> bytes:
            return HeMaterial(params.to_bytes(), keys, pinned).to_bytes()

        return Provision(
            server=material(secret.public().to_bytes()),
            clients=material(shared.export()),
            key_holder=material(secret.export_secret_key()),
        )

    def server_side(self, material: bytes) -> _ServerSide:
        """Load the server's side: identities and a context without a secret key."""
        held = HeMaterial.from_bytes(material)
        public = he.PublicContext.from_bytes(held.keys)
        return _ServerSide(self, held.directory, public, _enrolled(held.directory))

    def client_side(self, material: bytes) -> _ClientSide:
        """Load the clients' side."""
        held = HeMaterial.from_bytes(material)
        return _ClientSide(self.masks.client_side(held.directory), held.encrypting(self.key_at))

    def key_holder_side(self, material: bytes) -> HeKeyHolderSide:
        """Load the key holder's side."""
        held = HeMaterial.from_bytes(material)
        return HeKeyHolderSide(
            held.secret(),
            self.min_survivors,
            lambda spec: self.masks.params(spec).vector_length,
            _enrolled(held.directory),
        )

    def opener_side(self, material: bytes) -> NoReturn:
        """Raise LocalProtocolError: encrypted sums have no openers."""
        del material
        raise LocalProtocolError("encrypted-secagg has no openers")

    def describe(self, message: bytes) -> str:
        """The kind of a message."""
        if message[:4] == OPENED:
            return "opened sum of masked words"
        if message[:4] == _SIGNED:
            return "signature of a masked input"
        try:
            return _ENCRYPTED[he.envelope_kind(message)]
        except he.WireFormatError:
            return secagg.message_kind(message)

    def uploaded(self, message: bytes) -> NDArray[np.uint64] | None:
        """The ciphertext words of an encrypted masked input."""
        if not message or self.describe(message) != _ENCRYPTED["upload"]:
            return None
        return he.ciphertext_coefficients(message)


def _enrolled(directory: bytes) -> he.Directory:
    """The identities for signed ciphertexts: the ones that secagg pins."""
    return he.Directory(msgspec.msgpack.decode(directory, type=dict[int, bytes]))


@dataclass(frozen=True, slots=True)
class _ServerSide:
    config: EncryptedSecAgg
    directory: bytes
    public: he.PublicContext
    enrolled: he.Directory

    def session(self, spec: SumSpec, roster: Sequence[int]) -> _ServerSession:
        masks = self.config.masks
        params = masks.params(spec)
        # Keys are made once, and masked words of more bits would overflow their sums.
        if params.ring_bits > self.public.params.ring_bits:
            raise CapacityError("this round's masked words are wider than the keys were made for")
        inner = masks.server_side(self.directory).server(spec)
        adding = he.Server(
            self.public,
            context=spec.context,
            vector_length=params.vector_length,
            enrolled=self.enrolled,
        )
        return _ServerSession(inner, adding, roster, spec.context)


class _ServerSession:
    """The server of secagg; in the phase of masked inputs it adds ciphertexts instead of words."""

    def __init__(
        self, masks: secagg.Server, adding: he.Server, roster: Sequence[int], context: bytes
    ) -> None:
        self._masks = masks
        self._adding = adding
        self._roster = frozenset(roster)
        self._params = masks.params
        self._context = context
        self._partners: frozenset[int] = frozenset()
        self._signatures: dict[int, bytes] = {}
        self._opening = False
        self._opened: OpenedSum | None = None

    @property
    def stage(self) -> str:
        return "open" if self._opening else STAGES.get(self._masks.phase, "done")

    @property
    def collecting(self) -> bool:
        return not self._opening and self._masks.phase is secagg.Phase.MASKED_INPUT

    @property
    def convictions(self) -> tuple[Conviction, ...]:
        return convictions_of(self._masks, self._context)

    def open(self) -> dict[int, Sequence[bytes]]:
        return dict.fromkeys(self._roster, (self._masks.offer(),))

    def receive(self, sender: int, message: bytes) -> None:
        if self._opening:
            self._take_opened(sender, message)
        # The sender is checked first, so that nobody outside the roster reaches either sum.
        elif sender not in self._roster:
            raise LocalProtocolError(f"party {sender} is not on this round's roster")
        elif self._masks.phase is not secagg.Phase.MASKED_INPUT:
            self._masks.receive(sender, message)
        # Only the partners have masks with one another; words of other clients would not cancel.
        elif sender not in self._partners:
            raise LocalProtocolError(f"client {sender} is no longer part of the session")
        elif message[:4] == _SIGNED:
            self._masks.check_apart(sender, message[4:])
            self._signatures[sender] = message[4:]
        # A quorum of neighbours needs the signature of every input that is in the sum.
        elif self._params.local and sender not in self._signatures:
            raise LocalProtocolError(f"client {sender} sent words without its input's signature")
        else:
            self._adding.receive(sender, message)

    def _take_opened(self, sender: int, message: bytes) -> None:
        if sender != KEY_HOLDER or self._opened is not None:
            raise LocalProtocolError(
                f"party {sender} sent a message that does not belong to this stage"
            )
        length = self._params.vector_length
        self._opened = read_opened(message, length, self._adding.contributors)

    def advance(self) -> dict[int, Sequence[bytes]]:
        masked = self._masks.phase is secagg.Phase.MASKED_INPUT
        # With too few inputs nothing is opened, and secagg ends the session below.
        enough = len(self._adding.contributors) >= self._params.min_survivors
        if masked and enough and not self._opening:
            self._opening = True
            return {KEY_HOLDER: tuple(self._adding.result())}
        if self._opening:
            if self._opened is None:
                raise RoundAbortedError("the key holder did not open the sum of masked words")
            # secagg has to know whose inputs are in the sum, to remove exactly their masks.
            signed = {i: self._signatures.get(i, b"") for i in self._opened.survivors}
            self._masks.receive_sum(signed, self._opened.total)
            self._opening = False
        messages = (
            self._masks.advance()
        )  # ends the session, as intended, when there are too few inputs
        # The recipients of the partners' message are those who may give an input.
        if self._masks.phase is secagg.Phase.MASKED_INPUT:
            self._partners = frozenset(messages)
        return {client: (message,) for client, message in messages.items()}

    def result(self) -> secagg.SumResult:
        return self._masks.result()


@dataclass(frozen=True, slots=True)
class _ClientSide:
    masks: SecAggClientSide
    keys: he.SecretContext | he.EncryptContext

    def session(
        self, spec: SumSpec, client_id: int, identity: secagg.Identity, opening: bytes
    ) -> _ClientSession:
        inner = self.masks.session(spec, client_id, identity, opening)
        encrypting = he.Client(self.keys, client_id, context=spec.context, signing_key=identity)
        return _ClientSession(inner, encrypting)


class _ClientSession:
    """The client of secagg, which sends its masked input as ciphertexts."""

    def __init__(self, masks: ClientSession, encrypting: he.Client) -> None:
        self._masks = masks
        self._encrypting = encrypting

    @property
    def roster_size(self) -> int:
        return self._masks.roster_size

    @property
    def left(self) -> bool:
        return self._masks.left

    def set_input(self, vector: NDArray[np.int64]) -> None:
        self._masks.set_input(vector)

    def start(self) -> Sequence[bytes]:
        return self._masks.start()

    def receive(self, message: bytes) -> Sequence[bytes]:
        replies = self._masks.receive(message)
        if not replies or secagg.message_kind(replies[0]) != "masked_input":
            return replies
        (masked,) = replies
        words = secagg.masked_vector(masked).astype(np.int64)
        signature = secagg.input_signature(masked)
        # The signature goes first, because the server adds no words without it.
        signed = (_SIGNED + signature,) if signature else ()
        return (*signed, *self._encrypting.encrypt(words, copy=False))
