"""A user's own loss: a function, named by its import path."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, cast

from fedavg.errors import DataError
from fedavg.parts import Part, register
from fedavg.parts.imports import called, check_path

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["ImportedLoss"]

_AUTO = {"classes": "softmax", "numbers": "identity", "multi-label": "sigmoid"}


@register("loss")
class ImportedLoss(Part, frozen=True, tag="imported"):
    """A function of outputs and labels, imported when it is needed.

    The function is called as function(outputs, labels) with tensors: outputs float[n, k]; labels int64[n] of
    classes, float32[n, k] of numbers, or int8[n, k] of several labels.  It returns the loss of each example,
    float[n].

    Args:
        path: "package.module:function".  Importing it runs that module's code: accept configurations only
            from sources from which you would accept code.
        link: function from the model's outputs to predictions, for metrics; "auto" takes softmax for classes,
            the logistic function for several labels and for two classes with a single output, and the outputs
            themselves for numbers.

    Raises:
        ConfigError: the text is no such path; on use, the module or the name does not exist.

    Example:
        >>> ImportedLoss("torch.nn.functional:cross_entropy").path
        'torch.nn.functional:cross_entropy'
    """

    path: str
    link: Literal["auto", "identity", "exp", "sigmoid", "softmax"] = "auto"

    kind: ClassVar[str] = "imported"
    targets: ClassVar[frozenset[str]] = frozenset({"classes", "numbers", "multi-label"})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_path(self.path, "loss")

    @property
    def imports(self) -> tuple[str, ...]:
        """See `Part.imports`: the module of the function."""
        return (self.path.partition(":")[0],)

    def check_here(self) -> None:
        """See `Part.check_here`: the function must exist."""
        called(self.path, "the loss")

    @property
    def closed_form(self) -> None:
        """None: only autograd can compute its derivative."""

    def check(self, labels: NDArray[np.generic], outputs: int) -> None:
        """See `Loss.check`: only the function knows what it accepts, but predictions need the outputs.

        Raises:
            DataError: a single output, or a softmax over one, cannot say which of the classes is meant.
        """
        if labels.ndim == 1 and outputs == 1:
            if int(labels.max()) > 1:
                raise DataError(
                    f"there is a label {int(labels.max())}, but a model with 1 output can tell only "
                    "the classes 0 and 1 apart: give it one output for each class"
                )
            if self.link == "softmax":
                raise DataError(
                    "link = 'softmax' of a single output is always 1: choose link = 'sigmoid' for a model "
                    "with 1 output, or give it one output for each class"
                )

    def label_weights(self, labels: NDArray[np.generic]) -> None:
        """See `Loss.label_weights`: None, since the function can apply weights itself."""
        del labels

    def each(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `Loss.each`.

        Raises:
            DataError: the function does not return one number an example.
        """
        function = cast(
            "Callable[[torch.Tensor, torch.Tensor], object]", called(self.path, "the loss")
        )
        values = function(outputs, labels)
        shape = getattr(values, "shape", None)
        # A mean over the batch could not be weighted by example.
        if shape is None or tuple(shape) != (len(labels),):
            what = type(values).__name__ if shape is None else f"a tensor of shape {list(shape)}"
            raise DataError(
                f"the loss {self.path} gave {what} for {len(labels)} examples: it has to return the loss of "
                "each example, float[n] (in torch, reduction='none'), so that weights apply"
            )
        return cast("torch.Tensor", values)

    def predictions(self, outputs: torch.Tensor, target: str) -> torch.Tensor:
        """See `Loss.predictions`."""
        links: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
            "identity": lambda values: values,
            "exp": lambda values: values.exp(),
            "sigmoid": lambda values: values.sigmoid(),
            "softmax": lambda values: values.softmax(-1),
        }
        single = target == "classes" and outputs.shape[-1] == 1
        auto = "sigmoid" if single else _AUTO[target]
        return links[auto if self.link == "auto" else self.link](outputs)
