"""One-time keys: each client encrypts one vector under a key of its own, and only the sum of keys opens.

No party but the client itself ever holds a key that opens a single vector. An `Encryptor` draws a key s and
sends p + e − a·s, where a is public and the same for all clients of a sum. The `Server` adds what it
receives. Another protocol gives it the sum of the keys, such as secagg over vectors of `Params.degree` small
integers. With it the sum of the ciphertexts opens to the exact sum of the vectors, and nothing else opens.
docs/he.md states the security.

Example:
    >>> import numpy as np
    >>> params = Params(n_clients=3, max_abs=1000, vector_length=5)
    >>> server = Server(params, context=b"round 1")
    >>> key_sum = np.zeros(params.degree, np.int64)
    >>> for client_id in range(3):
    ...     encryptor = Encryptor(params, client_id, context=b"round 1")
    ...     for chunk in encryptor.encrypt(np.arange(5) - 100 * client_id):
    ...         server.receive(client_id, chunk)
    ...     server.add(client_id)
    ...     key_sum += encryptor.take_key()  # in earnest: by a protocol that shows the sum only
    >>> server.open_with_key_sum(key_sum).total
    array([-300, -297, -294, -291, -288])
"""

from __future__ import annotations

from he.onetime.client import Encryptor
from he.onetime.params import KEY_BOUND, MAX_CLIENTS, Params
from he.onetime.server import Server
from he.onetime.wire import is_upload, upload_words

__all__ = [
    "KEY_BOUND",
    "MAX_CLIENTS",
    "Encryptor",
    "Params",
    "Server",
    "is_upload",
    "upload_words",
]
