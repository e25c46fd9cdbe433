"""Conversion of named tensors to one vector and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedavg.errors import LocalProtocolError, PlanError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from numpy.typing import NDArray
    from torch import nn

__all__ = ["Layout"]


@dataclass(frozen=True, slots=True)
class Layout:
    """The tensors that form the vector, and their order.

    Args:
        names: names of the tensors.
        shapes: their shapes, in the same order.

    Raises:
        PlanError: there are no tensors, or names and shapes do not pair up.

    Example:
        >>> from torch import nn
        >>> layout = Layout.of(nn.Linear(3, 2))
        >>> layout.names, layout.size
        (('weight', 'bias'), 8)
        >>> layout.unflatten(np.arange(8.0))["bias"]
        tensor([6., 7.])
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.shapes) or len(set(self.names)) != len(self.names):
            raise PlanError("a layout needs one shape for each name, and no name twice")
        if not self.size:
            raise PlanError("there is nothing to train: no parameter requires a gradient")

    @classmethod
    def of(cls, source: nn.Module | Mapping[str, torch.Tensor]) -> Layout:
        """Take the layout of a module's trained parameters, or of named tensors.

        A module's frozen parameters (``requires_grad=False``) are left out, since they never change.

        Raises:
            PlanError: a tensor is integer or complex.
        """
        tensors = _parts(source)
        for name, tensor in tensors.items():
            if not tensor.is_floating_point():
                raise PlanError(
                    f"{name} holds {tensor.dtype}; only floating-point tensors can be averaged"
                )
        return cls(tuple(tensors), tuple(tuple(tensor.shape) for tensor in tensors.values()))

    @property
    def size(self) -> int:
        """d, the length of the vector."""
        return sum(math.prod(shape) for shape in self.shapes)

    def flatten(self, source: nn.Module | Mapping[str, torch.Tensor]) -> NDArray[np.float64]:
        """Return float64[d], a copy.

        Raises:
            LocalProtocolError: a tensor is missing or has another shape.
        """
        import torch  # noqa: PLC0415 - a layout is known without torch, and only its vectors need it

        tensors = self._matching(source)
        # Float64 holds float32 and half precision exactly, so no digits are lost on the way.
        vector = np.empty(self.size)
        start = 0
        for tensor in tensors:
            piece = vector[start : start + tensor.numel()].reshape(tensor.shape)
            # One pass converts and copies, from any device.
            torch.from_numpy(piece).copy_(tensor.detach())
            start += tensor.numel()
        return vector

    def unflatten(self, vector: NDArray[np.floating]) -> dict[str, torch.Tensor]:
        """Return float32 tensors by name.

        Raises:
            LocalProtocolError: the vector is not of length d.
        """
        flat = self._as_tensor(vector)
        sizes = [math.prod(shape) for shape in self.shapes]
        pieces = flat.split(sizes)
        return {
            # Clones do not share memory, so that writing to one tensor changes no other.
            name: piece.reshape(shape).clone()
            for name, shape, piece in zip(self.names, self.shapes, pieces, strict=True)
        }

    def load_vector(self, model: nn.Module, vector: NDArray[np.floating]) -> None:
        """Overwrite a module's trained parameters.

        Raises:
            LocalProtocolError: the vector or the module does not fit; nothing is written.
        """
        import torch  # noqa: PLC0415 - as below

        flat, tensors = self._as_tensor(vector), self._matching(model)
        with torch.no_grad():
            start = 0
            for tensor in tensors:
                tensor.copy_(flat[start : start + tensor.numel()].view(tensor.shape))
                start += tensor.numel()

    def as_float32(self, vector: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return float32[d], in the precision of training.

        Raises:
            LocalProtocolError: the vector is not of length d.
        """
        if vector.shape != (self.size,):
            raise LocalProtocolError(
                f"a vector of shape {vector.shape} does not fill {self.size} parameters"
            )
        # Torch warns about memory that cannot be written to.
        return np.require(vector, np.float32, ["C", "W"])

    def _as_tensor(self, vector: NDArray[np.floating]) -> torch.Tensor:
        import torch  # noqa: PLC0415 - plans without a model need none: 'fedavg budget' starts in half the time

        return torch.from_numpy(self.as_float32(vector))

    def _matching(self, source: nn.Module | Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
        tensors = _parts(source)
        for name, shape in zip(self.names, self.shapes, strict=True):
            if name not in tensors:
                raise LocalProtocolError(f"the layout's tensor {name!r} is missing")
            if tuple(tensors[name].shape) != shape:
                raise LocalProtocolError(
                    f"{name!r} has shape {tuple(tensors[name].shape)}, but the layout says {shape}"
                )
        return [tensors[name] for name in self.names]


def _parts(source: nn.Module | Mapping[str, torch.Tensor]) -> Mapping[str, torch.Tensor]:
    from torch import nn  # noqa: PLC0415 - as above

    if isinstance(source, nn.Module):
        return {name: part for name, part in source.named_parameters() if part.requires_grad}
    return source
