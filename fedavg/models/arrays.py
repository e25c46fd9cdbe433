"""Named arrays and texts in a safetensors file, with a digest that any accidental change of them contradicts.

A weight with a flipped bit is a weight too. Without a digest, a damaged file gives another model, and nobody
is told. The digest has no key: a person who may write the file can also write the digest, and an older copy
of the file agrees with its own.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["arrays_bytes", "read_arrays"]

_DIGEST = "digest"


def arrays_bytes(arrays: Mapping[str, NDArray[Any]], texts: Mapping[str, str]) -> bytes:
    """The content of a file with arrays, texts and their digest.

    Args:
        arrays: arrays by name.
        texts: texts by name, none of them called "digest".

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "state"
        ...     _ = path.write_bytes(arrays_bytes({"mean": np.ones(2)}, {"format": "1"}))
        ...     read_arrays(path, older=())
        ({'mean': array([1., 1.])}, {'format': '1'})
    """
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return save(contiguous, {**texts, _DIGEST: _digest(contiguous, texts)})


def read_arrays(
    path: Path, older: Collection[str]
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The arrays and texts of a file of `arrays_bytes`; code in the file is never run.

    Args:
        path: path of the file.
        older: names of the texts of a file from before there were digests; such a file has these and no more.

    Raises:
        ValueError: the file is damaged, or no such file.
        OSError: the file cannot be read.
    """
    try:
        with safe_open(str(path), "numpy") as file:
            texts = dict(file.metadata() or {})
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    given = texts.pop(_DIGEST, None)
    if given != _digest(arrays, texts) and (given is not None or texts.keys() != set(older)):
        raise ValueError("its content does not agree with its digest")
    return arrays, texts


def _digest(arrays: Mapping[str, NDArray[Any]], texts: Mapping[str, str]) -> str:
    found = hashlib.sha256(b"fedavg arrays v1")
    # Lengths stand before contents, so that no two files have one digest.
    for name, text in sorted(texts.items()):
        found.update(f"text {len(name)} {name} {len(text)} {text}".encode())
    for name, array in sorted(arrays.items()):
        found.update(f"array {len(name)} {name} {array.dtype.str} {array.shape} ".encode())
        found.update(array.data if array.size else b"")
    return found.hexdigest()
