"""Scores of a model's parameters, which measure how much their gradients reveal about the examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from fedavg.errors import DataError
from fedavg.models.layout import Layout

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from fedavg.data.dataset import Dataset

__all__ = ["client_scores", "gradient_times_weight", "label_sensitivity"]

_MOST_CLIENTS = 100
_EXAMPLES = 8  # of each client: a map needs the order of the scores, not exact values


def label_sensitivity(
    model: nn.Module, dataset: Dataset, *, max_examples: int = 64
) -> NDArray[np.float64]:
    """Mean over examples of Σ_c |∂²ℓ/∂w∂y_c|: how much a gradient changes with the label.

    This is FedML-HE's score (Jin et al. 2023).  The cross-entropy is linear in a soft label y,
    ℓ = −Σ y_c·log p_c, so the mixed derivative is that of −log p_c.

    Args:
        model: a module with the parameters at which to score.
        dataset: examples; the first `max_examples` are used.
        max_examples: number of examples to use, at least 1.

    Returns:
        float64[d], in the order of `fedavg.models.layout.Layout`.

    Raises:
        DataError: max_examples is below 1.

    Example:
        >>> from fedavg.data.dataset import Dataset
        >>> data = Dataset(np.array([[1.0, 0.0]], np.float32), np.array([0]))
        >>> label_sensitivity(torch.nn.Linear(2, 2), data)[[1, 3]].tolist()
        [0.0, 0.0]
    """
    names, parameters = _trained(model)
    scores = [torch.zeros_like(parameter) for parameter in parameters]
    features, _ = _examples(dataset, max_examples)
    for example in features:
        log_probabilities = functional.log_softmax(model(example[None]), dim=1)[0]
        each = torch.eye(log_probabilities.numel())
        jacobian = torch.autograd.grad(
            log_probabilities, parameters, each, is_grads_batched=True, materialize_grads=True
        )
        parts = [part.abs().sum(dim=0) for part in jacobian]
        scores = [score + part for score, part in zip(scores, parts, strict=True)]
    return _flat(model, names, scores) / len(features)


def gradient_times_weight(
    model: nn.Module, dataset: Dataset, *, max_examples: int = 64
) -> NDArray[np.float64]:
    """|∂ℓ/∂w · w| of the mean loss: the first-order effect on the loss of removing a parameter.

    Args:
        model: a module with the parameters at which to score; parameters of zero score zero.
        dataset: examples; the first `max_examples` are used.
        max_examples: number of examples to use, at least 1.

    Returns:
        float64[d], in the order of `fedavg.models.layout.Layout`.

    Raises:
        DataError: max_examples is below 1.

    Example:
        >>> from fedavg.data.dataset import Dataset
        >>> model = torch.nn.Linear(2, 2)
        >>> data = Dataset(np.array([[1.0, 0.0]], np.float32), np.array([0]))  # the second feature is 0
        >>> scores = gradient_times_weight(model, data)
        >>> scores[[1, 3]].tolist(), bool((scores[[0, 2]] > 0).all())
        ([0.0, 0.0], True)
    """
    names, parameters = _trained(model)
    features, labels = _examples(dataset, max_examples)
    loss = functional.cross_entropy(model(features), labels)
    gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
    products = [
        (gradient * parameter.detach()).abs()
        for gradient, parameter in zip(gradients, parameters, strict=True)
    ]
    return _flat(model, names, products)


def client_scores(
    model: nn.Module, clients: Mapping[int, Dataset], *, seed: int
) -> dict[int, NDArray[np.float64]]:
    """The scores for `SensitivityMap.from_clients`: `label_sensitivity` of each client's own examples.

    At most a hundred clients compute scores, drawn by the public seed, and each uses eight examples.

    Args:
        model: a module with the parameters at which to score, the same for all clients.
        clients: client id to its own examples.
        seed: public seed.

    Returns:
        client id to float64[d]; a client's scores are private.

    Raises:
        DataError: there are no clients.
    """
    if not clients:
        raise DataError("scores need at least one client")
    asked = sorted(clients)
    # A public sample keeps the cost bounded, and the sum needs no particular clients.
    if len(asked) > _MOST_CLIENTS:
        rng = np.random.default_rng([seed, len(asked)])  # noqa: TID251 - public seed
        asked = sorted(rng.choice(np.array(asked), _MOST_CLIENTS, replace=False).tolist())
    return {
        client: label_sensitivity(model, clients[client], max_examples=_EXAMPLES)
        for client in asked
    }


def _trained(model: nn.Module) -> tuple[list[str], list[nn.Parameter]]:
    trained = {name: part for name, part in model.named_parameters() if part.requires_grad}
    return list(trained), list(trained.values())


def _examples(dataset: Dataset, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    if count < 1:
        raise DataError("scores need at least one example")
    chosen = dataset.subset(np.arange(min(count, len(dataset))))
    return torch.from_numpy(chosen.features), torch.from_numpy(chosen.labels)


def _flat(
    model: nn.Module, names: Sequence[str], scores: Sequence[torch.Tensor]
) -> NDArray[np.float64]:
    return Layout.of(model).flatten(dict(zip(names, scores, strict=True)))
