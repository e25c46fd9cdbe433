"""A description of a model from which every process of a simulation builds the same module."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fedavg.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn


__all__ = ["ModelSpec"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A description of a model from which every process builds the same module.

    Args:
        name: a built-in name or an import path "package.module:factory".
        input_shape: shape of one example.
        num_classes: number of outputs.
        seed: public seed of the initial weights.
        hidden: widths of hidden layers, for models with variable widths; () for the default.
        file: a safetensors file to start from; "" for the initial weights.
        digest: SHA-256 of that file, in hex; "" computes it from the file as it is now.
        freeze: patterns of parameters that are never trained and never sent.
        fresh: patterns of tensors that the file does not overwrite.

    Raises:
        DataError: the file cannot be read.

    Example:
        >>> spec = ModelSpec("mlp", (4,), 3, seed=7, hidden=(5,), freeze=("layers.0.*",))
        >>> one, other = spec.build(), spec.build()  # as two processes do
        >>> same = zip(one.parameters(), other.parameters(), strict=True)
        >>> all(bool((a == b).all()) for a, b in same), [p.requires_grad for p in one.parameters()]
        (True, [False, False, True, True])
    """

    name: str
    input_shape: tuple[int, ...]
    num_classes: int
    seed: int = 0
    hidden: tuple[int, ...] = ()
    file: str = ""
    digest: str = ""
    freeze: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        # The digest is taken once, here, so that every worker can check that it reads the same file.
        if self.file and not self.digest:
            from fedavg.models.files import file_digest  # noqa: PLC0415 - loads torch

            object.__setattr__(self, "digest", file_digest(self.file))

    def build(self) -> nn.Module:
        """Build the module.

        Raises:
            ConfigError: a name, a width, a pattern or the file does not fit.
            DataError: the file has changed, or holds no model.
        """
        from fedavg.models import files as transfer  # noqa: PLC0415 - loads torch
        from fedavg.models.zoo import build_model  # noqa: PLC0415 - as above

        model = build_model(
            self.name, self.input_shape, self.num_classes, seed=self.seed, hidden=self.hidden
        )
        if self.file:
            tensors = transfer.read_tensors(self.file, self.digest)
            transfer.start(model, tensors, self.fresh, self.file)
        elif self.fresh:
            raise ConfigError("model.fresh needs model.file: without one, all weights are fresh")
        transfer.freeze(model, self.freeze)
        return model
