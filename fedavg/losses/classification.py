"""Losses for classes and for several labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from fedavg.errors import ConfigError, DataError
from fedavg.parts import Part, register

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

__all__ = ["BinaryCrossEntropy", "CrossEntropy", "Focal"]

_CLASSES, _MULTI_LABEL = "classes", "multi-label"
_SURE = 1e-12  # a smaller 1 − p has no gradient, because p rounds to 1 in float32


def _check_weights(name: str, weights: tuple[float, ...] | None) -> None:
    if weights is None:
        return
    if not weights or not all(math.isfinite(w) and w >= 0 for w in weights) or not any(weights):
        raise ConfigError(
            f"{name} needs a finite weight of 0 or more for each class, and one that is positive, "
            f"not {weights!r}"
        )


def _check_classes(
    labels: NDArray[np.generic], outputs: int, weights: tuple[float, ...] | None
) -> None:
    if outputs < 2:
        raise DataError(
            f"classes need one output each, but the model has {outputs}: give it an output "
            "for every class, or choose the loss 'bce' for two classes and one output"
        )
    # The labels are checked before any step: as indices of outputs they would fail without an explanation.
    highest = int(labels.max())
    if highest >= outputs:
        raise DataError(
            f"there is a label {highest}, but the model has {outputs} outputs, for the labels 0 … "
            f"{outputs - 1}: number the classes from 0, or give the model more outputs"
        )
    if weights is not None and len(weights) != outputs:
        raise DataError(
            f"class_weights has {len(weights)} weights but the model {outputs} outputs: give one each"
        )


def _by_class(
    labels: NDArray[np.generic], weights: tuple[float, ...] | None
) -> NDArray[np.float32] | None:
    if weights is None:
        return None
    if int(labels.max()) >= len(weights):
        raise DataError(
            f"class_weights has {len(weights)} weights, but there is a label {int(labels.max())}: give one "
            "weight for each class"
        )
    return np.asarray(weights, np.float32)[labels.astype(np.int64)]


def _one_hot(labels: torch.Tensor, outputs: int) -> torch.Tensor:
    wanted = labels.new_zeros((len(labels), outputs)).float()
    return wanted.scatter_(1, labels[:, None], 1.0)


@register("loss")
class CrossEntropy(Part, frozen=True, tag="cross-entropy"):
    """−log of the probability that softmax gives to the example's class.

    Args:
        class_weights: public weights, one for each class, which multiply the examples' own weights.
            None gives all classes the weight 1.
        label_smoothing: share of the label that is spread evenly over all classes, in [0, 1) (Szegedy et al.
            2016, §7).

    Raises:
        ConfigError: a weight or the share is out of range.

    Example:
        >>> CrossEntropy(class_weights=(1.0, 20.0)).label_weights(np.array([0, 1])).tolist()
        [1.0, 20.0]
    """

    class_weights: tuple[float, ...] | None = None
    label_smoothing: float = 0.0

    kind: ClassVar[str] = "cross-entropy"
    targets: ClassVar[frozenset[str]] = frozenset({_CLASSES})

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_weights("class_weights", self.class_weights)
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"label_smoothing must lie in [0, 1), not {self.label_smoothing!r}")

    @property
    def closed_form(self) -> CrossEntropy:
        """The loss itself."""
        return self

    def check(self, labels: NDArray[np.generic], outputs: int) -> None:
        """See `Loss.check`."""
        _check_classes(labels, outputs, self.class_weights)

    def label_weights(self, labels: NDArray[np.generic]) -> NDArray[np.float32] | None:
        """See `Loss.label_weights`."""
        return _by_class(labels, self.class_weights)

    def each(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `Loss.each`."""
        # A loss is a value without torch; a caller that has tensors has imported it.
        from torch.nn.functional import cross_entropy  # noqa: PLC0415

        # It stays finite where a probability rounds to zero, and its backward pass is one operation.
        return cross_entropy(
            outputs, labels, reduction="none", label_smoothing=self.label_smoothing
        )

    def wanted(self, labels: torch.Tensor, outputs: int) -> torch.Tensor:
        """See `ClosedForm.wanted`: the smoothed label."""
        wanted = _one_hot(labels, outputs)
        if not self.label_smoothing:
            return wanted
        return wanted.mul_(1 - self.label_smoothing).add_(self.label_smoothing / outputs)

    def slope(self, outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """See `ClosedForm.slope`."""
        return outputs.softmax(-1).sub_(wanted)

    def predictions(self, outputs: torch.Tensor, target: str) -> torch.Tensor:
        """See `Loss.predictions`: probabilities of the classes."""
        del target
        return outputs.softmax(-1)


@register("loss")
class Focal(Part, frozen=True, tag="focal"):
    """−(1 − p)^gamma · log p, where p is the probability of the example's class (Lin et al. 2017, eq. 4).

    Args:
        gamma: exponent of 0 or more. 0 is cross-entropy; the larger it is, the less weight examples have of
            which the model is sure.
        class_weights: see `CrossEntropy`.

    Raises:
        ConfigError: a weight or the exponent is out of range.

    Example:
        >>> Focal(gamma=2.0).kind
        'focal'
    """

    gamma: float = 2.0
    class_weights: tuple[float, ...] | None = None

    kind: ClassVar[str] = "focal"
    targets: ClassVar[frozenset[str]] = frozenset({_CLASSES})

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_weights("class_weights", self.class_weights)
        if not (math.isfinite(self.gamma) and self.gamma >= 0):
            raise ConfigError(f"gamma must be 0 or more, not {self.gamma!r}")

    @property
    def closed_form(self) -> Focal:
        """The loss itself."""
        return self

    def check(self, labels: NDArray[np.generic], outputs: int) -> None:
        """See `Loss.check`."""
        _check_classes(labels, outputs, self.class_weights)

    def label_weights(self, labels: NDArray[np.generic]) -> NDArray[np.float32] | None:
        """See `Loss.label_weights`."""
        return _by_class(labels, self.class_weights)

    def each(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `Loss.each`."""
        log = outputs.log_softmax(1).gather(1, labels[:, None])[:, 0]
        return -(self._unsure(log) ** self.gamma) * log

    def wanted(self, labels: torch.Tensor, outputs: int) -> torch.Tensor:
        """See `ClosedForm.wanted`."""
        return _one_hot(labels, outputs)

    def slope(self, outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """See `ClosedForm.slope`: that of cross-entropy times (1−p)^γ − γ·p·(1−p)^(γ−1)·log p."""
        logs = outputs.log_softmax(-1)
        log = (logs * wanted).sum(-1, keepdim=True)
        unsure = self._unsure(log)
        factor = unsure**self.gamma * (1 - self.gamma * log.exp() * log / unsure)
        return logs.exp_().sub_(wanted).mul_(factor)

    @staticmethod
    def _unsure(log: torch.Tensor) -> torch.Tensor:
        """Compute 1 − p from log p, bounded below so that its powers have a derivative."""
        return (-log.expm1()).clamp_min(_SURE)

    def predictions(self, outputs: torch.Tensor, target: str) -> torch.Tensor:
        """See `Loss.predictions`: probabilities of the classes."""
        del target
        return outputs.softmax(-1)


@register("loss")
class BinaryCrossEntropy(Part, frozen=True, tag="bce"):
    """−log of the probability that the logistic function gives to each label, averaged over the labels.

    It is for several labels (`target="multi-label"`), or for two classes 0 and 1 and a model with one output.

    Args:
        positive_weights: public weights, one for each label, of the positive class; a single number holds for
            all labels.  None gives both classes the weight 1.

    Raises:
        ConfigError: a weight is out of range.

    Example:
        >>> sorted(BinaryCrossEntropy().targets)
        ['classes', 'multi-label']
    """

    positive_weights: tuple[float, ...] | None = None

    kind: ClassVar[str] = "bce"
    targets: ClassVar[frozenset[str]] = frozenset({_MULTI_LABEL, _CLASSES})

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_weights("positive_weights", self.positive_weights)

    @property
    def closed_form(self) -> BinaryCrossEntropy:
        """The loss itself."""
        return self

    def check(self, labels: NDArray[np.generic], outputs: int) -> None:
        """See `Loss.check`."""
        columns = 1 if labels.ndim == 1 else labels.shape[1]
        if columns != outputs:
            advice = (
                "two classes need a model with 1 output, such as one of your own, or the loss "
                "'cross-entropy', which takes one output for each class"
                if labels.ndim == 1
                else f"give its last layer {columns} outputs"
            )
            raise DataError(
                f"the loss 'bce' needs one output for each label: there {_are(columns, 'label')}, but "
                f"the model has {outputs}. Remedy: {advice}"
            )
        if int(labels.max()) > 1:
            raise DataError(
                f"there is a label {int(labels.max())}, but the loss 'bce' of one output knows only the "
                "classes 0 and 1: use 'cross-entropy' with an output for each class"
            )
        if self.positive_weights is not None and len(self.positive_weights) not in {1, columns}:
            raise DataError(
                f"positive_weights has {len(self.positive_weights)} weights for {columns} labels: give "
                "one each, or one for all"
            )

    def label_weights(self, labels: NDArray[np.generic]) -> None:
        """See `Loss.label_weights`: None, since weights of labels are no weights of examples."""
        del labels

    def each(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """See `Loss.each`."""
        # Labels may be integers, and products with outputs need the outputs' type.
        wanted = labels.reshape(outputs.shape).to(outputs.dtype)
        softplus = (-outputs.abs()).exp().log1p() + (-outputs).clamp_min(0)  # −log p
        positive = wanted * (self._positive(outputs) - 1) + 1
        return ((1 - wanted) * outputs + positive * softplus).mean(1)

    def wanted(self, labels: torch.Tensor, outputs: int) -> torch.Tensor:
        """See `ClosedForm.wanted`."""
        return labels.reshape(-1, outputs).float()

    def slope(self, outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """See `ClosedForm.slope`."""
        positive = self._positive(outputs) * wanted
        return (outputs.sigmoid() * (positive + 1 - wanted) - positive) / outputs.shape[-1]

    def _positive(self, outputs: torch.Tensor) -> torch.Tensor:
        return outputs.new_tensor(self.positive_weights or (1.0,))

    def predictions(self, outputs: torch.Tensor, target: str) -> torch.Tensor:
        """See `Loss.predictions`: the probability of each label."""
        del target
        return outputs.sigmoid()


def _are(count: int, what: str) -> str:
    return f"is 1 {what}" if count == 1 else f"are {count} {what}s"
