"""`he` from floats to floats: quantise, encrypt, add, open, and the mean in the clear for everyone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.he.play import CLIP
from benchmarks.he.stages import Stages, seams
from he import Client, KeyHolder, Params, PublicContext, SecretContext, Server
from he.coding.words import body_bytes
from he.params.capacity import WORD_BITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from benchmarks.he.play import Round
    from he.params import Scheme

__all__ = ["Ours", "label", "ours"]

_CONTEXT = b"benchmark"
_SIGNATURE, _TAG = 64, 8


def label(scheme: Scheme, bits: int, *, public_key: bool = False) -> str:
    """A contestant's name.

    Example:
        >>> label("bfv", 20, public_key=True)
        'BFV 20 bits, public key'
    """
    return f"{scheme.upper()} {bits} bits{', public key' if public_key else ''}"


def ours(scheme: Scheme, bits: int, *, public_key: bool = False) -> Callable[[Round], Ours]:
    """A maker of contestants."""
    return partial(Ours, scheme=scheme, bits=bits, public_key=public_key)


class Ours:
    """A round of ours.

    Args:
        what: the round.
        scheme: "bfv" or "ckks".
        bits: of a value, its sign included.
        public_key: keep the secret key from the clients.
    """

    def __init__(self, what: Round, *, scheme: Scheme, bits: int, public_key: bool = False) -> None:
        self.stages = Stages()
        self._max_abs = (1 << (bits - 1)) - 1
        self.params = Params.for_sum(
            what.clients, max_abs=self._max_abs, scheme=scheme, public_key=public_key
        )
        self._secret = SecretContext.generate(self.params)
        self._keys = self._secret.encryptor() if public_key else self._secret
        public = self._secret.public().to_bytes()
        self.context_bytes = len(public)
        self._server = Server(PublicContext.from_bytes(public), context=_CONTEXT)
        self._clients = what.clients
        self._plain = np.zeros(what.length, np.int64)
        self._difference: int | None = None

    def send(self, client: int, values: NDArray[np.float32]) -> list[bytes]:
        """Quantise and encrypt."""
        sender = Client(self._keys, client, context=_CONTEXT)
        with seams(self.stages, "client"), self.stages.call("client"):
            with self.stages.stage("encode, pack"):
                integers = self._quantised(values)
            upload = list(sender.encrypt(integers, copy=False))
        self._plain += integers
        return upload

    def receive(self, client: int, upload: list[bytes]) -> None:
        """Verify and add."""
        with seams(self.stages, "server"), self.stages.call("server"):
            for chunk in upload:
                self._server.receive(client, chunk)

    def result(self) -> list[bytes]:
        """The encrypted sum, for the key holder."""
        with seams(self.stages, "server"), self.stages.call("result"):
            return list(self._server.result())

    def open(self, download: list[bytes]) -> NDArray[np.float32]:
        """Open, and decode the mean as a client gets it: float32 in the clear.

        A key opens a round's sum once, so each call has a context of its own.
        """
        exported = self._secret.export_secret_key()
        secret = SecretContext.from_secret_key(self.params, exported)
        holder = KeyHolder(secret, min_clients=2, context=_CONTEXT)
        with seams(self.stages, "opening"), self.stages.call("opening"):
            total = holder.decrypt(download).total
            with self.stages.stage("broadcast of floats"):
                factor = CLIP / self._max_abs / self._clients
                broadcast = bytearray(4 * total.size)
                room = np.frombuffer(broadcast, "<f4")
                np.multiply(total, factor, out=room, casting="unsafe")  # in doubles, then rounded
                mean = np.frombuffer(broadcast, "<f4").copy()
        self._difference = int(np.abs(total - self._plain).max())
        return mean

    def split(self, upload: list[bytes], download: list[bytes]) -> dict[str, dict[str, float]]:
        """Body, tags, signatures; headers are the rest."""
        return {
            "upload": self._parts(upload, self.params.word_bits, _SIGNATURE),
            "download": self._parts(download, WORD_BITS, 0),
        }

    def difference(self) -> int | None:
        """From the plain sum, when it was opened last."""
        return self._difference

    def _quantised(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        scaled = np.multiply(values, self._max_abs / CLIP, dtype=np.float64)
        return np.rint(scaled, out=scaled).astype(np.int64)

    def _parts(self, chunks: list[bytes], bits: int, signature: int) -> dict[str, float]:
        count = self.params.ciphertexts(self._plain.size)
        parts: dict[str, float] = {
            "body": body_bytes(count, parts=self.params.parts, bits=bits),
            "tags": _TAG * count,
            "signatures": signature * len(chunks),
        }
        parts["headers"] = sum(map(len, chunks)) - sum(parts.values())
        return parts
