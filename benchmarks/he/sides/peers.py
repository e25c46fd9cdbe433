"""What others do: float32 in the clear, and TenSEAL's vectors with the parameters of its tutorial."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.he.stages import Stages

if TYPE_CHECKING:
    from collections.abc import Generator

    from numpy.typing import NDArray

    from benchmarks.he.play import Round

__all__ = ["Floats", "Tutorial", "quiet"]

_DEGREE, _PRIMES, _SCALE = 8192, (60, 40, 40, 60), 2.0**40


class Floats:
    """No encryption: float32 on the wire, added as float64."""

    context_bytes = 0

    def __init__(self, what: Round) -> None:
        self.stages = Stages()
        self._total = np.zeros(what.length)
        self._clients = what.clients

    def send(self, client: int, values: NDArray[np.float32]) -> list[bytes]:
        """The floats."""
        del client
        with self.stages.call("client"), self.stages.stage("serialise"):
            return [values.tobytes()]

    def receive(self, client: int, upload: list[bytes]) -> None:
        """Add."""
        del client
        with self.stages.call("server"), self.stages.stage("add"):
            self._total += np.frombuffer(upload[0], np.float32)

    def result(self) -> list[bytes]:
        """The mean."""
        with self.stages.call("result"), self.stages.stage("serialise"):
            return [(self._total / self._clients).astype(np.float32).tobytes()]

    def open(self, download: list[bytes]) -> NDArray[np.float32]:
        """Read it."""
        with self.stages.call("opening"), self.stages.stage("parse"):
            return np.frombuffer(download[0], np.float32).copy()

    def split(self, upload: list[bytes], download: list[bytes]) -> dict[str, dict[str, float]]:
        """All body."""
        return {"upload": {"body": len(upload[0])}, "download": {"body": len(download[0])}}

    def difference(self) -> int | None:
        """None: floats."""
        return None


class Tutorial:
    """TenSEAL as its tutorial has it: one CKKS vector, public-key encryption, N = 8192, [60, 40, 40, 60].

    Nothing but sums is computed, so no Galois keys are made and the server's context goes without.
    """

    def __init__(self, what: Round) -> None:
        import tenseal  # noqa: PLC0415 - ours keeps it behind one door, and this is a peer

        self._tenseal = tenseal
        self.stages = Stages()
        self._clients = what.clients
        self._length = what.length
        kind = tenseal.SCHEME_TYPE.CKKS
        self._context = tenseal.context(kind, _DEGREE, coeff_mod_bit_sizes=list(_PRIMES))
        self._context.global_scale = _SCALE
        public = self._context.serialize(
            save_public_key=True,
            save_secret_key=False,
            save_galois_keys=False,
            save_relin_keys=False,
        )
        self._server = tenseal.context_from(public)
        self.context_bytes = len(public)
        self._total = None

    def send(self, client: int, values: NDArray[np.float32]) -> list[bytes]:
        """Encrypt and serialise."""
        del client
        with quiet(), self.stages.call("client"):
            with self.stages.stage("encrypt"):
                vector = self._tenseal.ckks_vector(self._context, values)
            with self.stages.stage("serialise"):
                return [vector.serialize()]

    def receive(self, client: int, upload: list[bytes]) -> None:
        """Parse and add."""
        del client
        with quiet(), self.stages.call("server"):
            with self.stages.stage("parse"):
                vector = self._tenseal.ckks_vector_from(self._server, upload[0])
            with self.stages.stage("add"):
                if self._total is None:
                    self._total = vector
                else:
                    self._total += vector

    def result(self) -> list[bytes]:
        """The sum."""
        if self._total is None:
            raise RuntimeError("there is no sum")
        with quiet(), self.stages.call("result"), self.stages.stage("serialise"):
            return [self._total.serialize()]

    def open(self, download: list[bytes]) -> NDArray[np.float64]:
        """Decrypt; the list that comes out counts as it is."""
        with quiet(), self.stages.call("opening"):
            with self.stages.stage("parse"):
                vector = self._tenseal.ckks_vector_from(self._context, download[0])
            with self.stages.stage("decrypt"):
                values = vector.decrypt()
        return np.asarray(values)[: self._length] / self._clients

    def split(self, upload: list[bytes], download: list[bytes]) -> dict[str, dict[str, float]]:
        """All body."""
        return {"upload": {"body": len(upload[0])}, "download": {"body": len(download[0])}}

    def difference(self) -> int | None:
        """None: floats."""
        return None


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Silence C++'s standard output: TenSEAL warns there of every vector longer than a ciphertext."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        os.dup2(kept, 1)
        os.close(nowhere)
        os.close(kept)
