"""The sizes of a user's model, from its file: no code in it is run, of safetensors only the header read."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["ModelFileError", "tensor_sizes"]

_PICKLED = (".pt", ".pth", ".bin")


class ModelFileError(ValueError):
    """A file that gives no sizes; the message says why."""


def tensor_sizes(path: Path) -> tuple[int, ...]:
    """Parameters of each floating-point tensor in a model file.

    Args:
        path: `.safetensors`, or a state dict that torch saved (`.pt`, `.pth`, `.bin`; nested
            dictionaries are gone through).

    Raises:
        ModelFileError: no such file, another format, or no floating-point tensor in it.
    """
    if not path.is_file():
        raise ModelFileError(f"there is no file {path}")
    if path.suffix == ".safetensors":
        sizes = _safetensors(path)
    elif path.suffix in _PICKLED:
        sizes = _torch(path)
    else:
        raise ModelFileError(f"{path} ends neither in .safetensors nor in {', '.join(_PICKLED)}")
    sizes = tuple(size for size in sizes if size)
    if not sizes:
        raise ModelFileError(f"{path} holds no floating-point tensor")
    return sizes


def _safetensors(path: Path) -> tuple[int, ...]:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415 - only for such files

    try:
        with safe_open(path, framework="numpy") as file:
            slices = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118 - it is no mapping
            floats = [part for part in slices if str(part.get_dtype()).startswith(("F", "BF"))]
            return tuple(math.prod(part.get_shape()) for part in floats)
    except SafetensorError as error:
        raise ModelFileError(f"{path} is no safetensors file: {error}") from error


def _torch(path: Path) -> tuple[int, ...]:
    import torch  # noqa: PLC0415 - only for such files
    from torch.serialization import pickle  # noqa: PLC0415 - its error, not its use

    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ModelFileError(
            f"torch does not load {path} as weights alone; save model.state_dict(), "
            f"or write it as safetensors ({type(error).__name__})"
        ) from error
    return tuple(t.numel() for t in _tensors(loaded) if t.is_floating_point())


def _tensors(loaded: Any) -> Iterator[Any]:  # noqa: ANN401 - the content of a user's file
    if isinstance(loaded, dict):
        for value in loaded.values():
            yield from _tensors(value)
    elif hasattr(loaded, "is_floating_point"):
        yield loaded
