"""What fixed features are: a public function of one example, which is never trained and never sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FixedFeatures"]


class FixedFeatures(Protocol):
    """A public function that turns one example into the inputs of a small model.

    It must not depend on any private row: a statistic over rows (a mean, a vocabulary, a principal axis)
    would tell of them, and nothing would charge it. It treats every example by itself, so that one unit
    changes nothing but its own inputs.

    Example:
        >>> import math
        >>> from torch import nn
        >>> from fedavg import Part, register
        >>> @register("features")
        ... class Flat(Part, frozen=True, tag="flat-example"):
        ...     kind: ClassVar[str] = "flat-example"
        ...     def shape(self, input_shape):
        ...         return (math.prod(input_shape),)
        ...     def module(self, input_shape):
        ...         return nn.Flatten()
        >>> Flat().shape((28, 28))
        (784,)
    """

    kind: ClassVar[str]

    def shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of one example's features.

        Args:
            input_shape: shape of one example.

        Raises:
            PlanError: there are no such features of these examples; the message has the shape.
        """
        ...

    def module(self, input_shape: tuple[int, ...]) -> nn.Module:
        """The module float32[n, ...] → float32[n, ...] that computes features, without trained parameters."""
        ...
