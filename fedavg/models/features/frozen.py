"""The part `FrozenModel`: a model file that is public and never trained, as fixed features."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import msgspec

from fedavg import checks
from fedavg.errors import PlanError
from fedavg.models.spec import ModelSpec
from fedavg.parts import Part, register

if TYPE_CHECKING:
    from torch import nn

__all__ = ["FrozenModel"]


@register("features")
class FrozenModel(Part, frozen=True, tag="frozen-model"):
    """The outputs of a model whose weights come from a file, in front of a small model.

    The file must be public: weights that were trained on a silo's records tell of them, and nothing charges
    it here. The plan holds the file's SHA-256, so that all silos compute the same features.

    Args:
        name: a built-in model or an import path "package.module:factory", as in `ModelSpec`.
        file: a safetensors file with all of its tensors.
        outputs: number of the model's outputs, as in `ModelSpec`.
        hidden: widths of hidden layers, for models with variable widths.
        digest: SHA-256 of the file, in hex; "" computes it.

    Raises:
        PlanError: no file is given.
        DataError: the file cannot be read.

    Example:
        >>> FrozenModel("mlp", file="", outputs=32)
        Traceback (most recent call last):
        fedavg.errors.PlanError: frozen features need file, a safetensors file with the model's weights
    """

    name: str
    file: str
    outputs: int
    hidden: tuple[int, ...] = ()
    digest: str = ""
    kind: ClassVar[str] = "frozen-model"

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.plan.whole("outputs", self.outputs)
        if not self.file:
            raise PlanError(
                "frozen features need file, a safetensors file with the model's weights"
            )
        msgspec.structs.force_setattr(self, "digest", self._spec((1,)).digest)

    def shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """See `FixedFeatures.shape`."""
        import torch  # noqa: PLC0415 - plans are values without torch

        with torch.no_grad():
            outputs = self.module(input_shape)(torch.zeros(1, *input_shape))
        return tuple(int(size) for size in outputs.shape[1:])

    def module(self, input_shape: tuple[int, ...]) -> nn.Module:
        """See `FixedFeatures.module`."""
        return self._spec(input_shape).build().requires_grad_(False).eval()

    def _spec(self, input_shape: tuple[int, ...]) -> ModelSpec:
        return ModelSpec(
            self.name,
            input_shape,
            self.outputs,
            hidden=self.hidden,
            file=self.file,
            digest=self.digest,
        )
