"""Encryption on several cores, in spawned processes, since SEAL's binding holds the interpreter's lock."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import astuple
from multiprocessing import get_context
from typing import TYPE_CHECKING

from he.crypto.context import EncryptContext, SecretContext, read_exported
from he.crypto.tags import UploadName
from he.errors import LocalProtocolError
from he.guards.calls import callers_own, iterating_leaves_nothing, leaving_nothing
from he.guards.checks import check_type, integer
from he.params import BLOCK, Params
from he.roles.client import Client, Upload
from he.secrecy import SecretBytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["encrypt_chunks"]

_MOST_PROCESSES = 1024
_AHEAD = 2  # unfinished chunks for each worker, which limits the memory

_keys: list[SecretContext | EncryptContext] = []  # in a worker process, its one context


@leaving_nothing
def encrypt_chunks(
    client: Client,
    vector: NDArray[np.int64],
    *,
    processes: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[bytes]:
    """Encrypt a vector as `Client.encrypt` does, in several processes.

    Call it under `if __name__ == "__main__":`, like all code that spawns processes. The processes get the
    exported keys through their start-up pipe, and each slice of the vector when its turn comes. A client's
    own signing key stays in this process.

    Args:
        client: a client that has encrypted nothing yet.
        vector: int64[d]; do not modify it until the last chunk exists.
        processes: number of workers, at least 1. They help in public-key mode, on idle cores, from some ten
            million values on; docs/he.md has the figures.
        progress: called with (finished chunks, all chunks) after each chunk.

    Returns:
        An iterator over the chunks, in order.

    Raises:
        CapacityError: a value is out of range.
        LocalProtocolError: the vector has another type or length, there is no worker, or this is a second
            call; while iterating, a worker died.

    Example:
        >>> import numpy as np
        >>> from he import KeyHolder, Server
        >>> secret = SecretContext.generate(Params.for_sum(2, max_abs=9))
        >>> server = Server(secret.public(), context=b"round 1")
        >>> one, other = (Client(secret, i, context=b"round 1") for i in (1, 2))
        >>> for chunk in encrypt_chunks(one, np.array([5, 2]), processes=1):
        ...     server.receive(1, chunk)
        >>> for chunk in other.encrypt(np.array([6, 2])):
        ...     server.receive(2, chunk)
        >>> KeyHolder(secret, min_clients=2, context=b"round 1").decrypt(server.result()).total
        array([11,  4])
    """
    check_type("client", client, Client)
    processes = integer("processes", processes, 1, _MOST_PROCESSES)
    if progress is not None and not callable(progress):
        raise LocalProtocolError("progress must be called with two numbers, or left out")
    # The vector is checked and the client used up now, not when the iteration begins.
    upload = client.begin(vector)
    return _chunks(client, upload, vector, processes, progress or _ignore)


@iterating_leaves_nothing
def _chunks(
    client: Client,
    upload: Upload,
    vector: NDArray[np.int64],
    processes: int,
    progress: Callable[[int, int], None],
) -> Iterator[bytes]:
    params = client.keys.params
    step, count = BLOCK * params.values_per_ciphertext, params.chunks(vector.size)
    pool = ProcessPoolExecutor(
        min(processes, count),
        mp_context=get_context("spawn"),
        initializer=_start,
        # Keys travel as bytes, since contexts refuse to be pickled.
        initargs=(params.to_bytes(), SecretBytes(client.keys.export())),
    )
    name = (*astuple(upload.name), upload.enrolled)
    pending: deque[Future[bytes]] = deque()
    try:
        for index in range(count + _AHEAD * processes):
            if index < count:
                values = vector[index * step : (index + 1) * step]
                pending.append(pool.submit(_encrypt, name, index, values))
            # Results lag behind: workers stay busy, and few parts of the vector are in memory at a time.
            if index >= _AHEAD * processes:
                yield client.signed(pending.popleft().result())
                with callers_own():
                    progress(index - _AHEAD * processes + 1, count)
    except BrokenProcessPool as error:
        raise LocalProtocolError(
            "a worker process died; begin again with a new Client, which draws a new nonce"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)  # also if the caller stops early


def _start(params: bytes, exported: bytes) -> None:
    """Rebuild the context in a worker."""
    _keys.append(read_exported(Params.from_bytes(params), exported))


def _encrypt(
    name: tuple[bytes, int, bytes, int, bool], index: int, values: NDArray[np.int64]
) -> bytes:
    return Upload(UploadName(*name[:4]), name[4]).chunk(_keys[0], index, values)


def _ignore(done: int, total: int) -> None:
    del done, total
