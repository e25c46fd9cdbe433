"""McMahan's 2NN and CNN as anyone writes them in PyTorch, and a round of plain training."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Convolutional", "TwoHidden", "accuracy", "build", "cnn", "train", "two_hidden"]


class TwoHidden(nn.Module):
    """784-200-200-10 with ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(784, 200)
        self.second = nn.Linear(200, 200)
        self.last = nn.Linear(200, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        hidden = functional.relu(self.first(images.flatten(1)))
        return self.last(functional.relu(self.second(hidden)))


class Convolutional(nn.Module):
    """Two 5×5 convolutions of 32 and 64 channels, each pooled, then 512 units."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 32, 5, padding=2)
        self.second = nn.Conv2d(32, 64, 5, padding=2)
        self.dense = nn.Linear(3136, 512)
        self.last = nn.Linear(512, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits."""
        hidden = images.view(-1, 1, 28, 28)
        hidden = functional.max_pool2d(functional.relu(self.first(hidden)), 2)
        hidden = functional.max_pool2d(functional.relu(self.second(hidden)), 2)
        return self.last(functional.relu(self.dense(hidden.flatten(1))))


def build(model: str) -> nn.Module:
    """A peer's model with the weights that all peers start from."""
    torch.manual_seed(0)
    return Convolutional() if model == "cnn" else TwoHidden()


def two_hidden(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """A factory for `ModelSpec`: a module that our fast path does not know."""
    del input_shape, num_classes
    return TwoHidden()


def cnn(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """The same for the CNN."""
    del input_shape, num_classes
    return Convolutional()


def train(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, batch: int, lr: float
) -> None:
    """One epoch of mini-batch SGD, as a careful user writes it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    order = torch.randperm(len(labels))
    for chosen in order.split(batch):
        optimizer.zero_grad(set_to_none=True)
        functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
        optimizer.step()


@torch.no_grad()
def accuracy(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Share of test images named rightly."""
    right = sum(
        int((model(part).argmax(1) == truth).sum())
        for part, truth in zip(images.split(1000), labels.split(1000), strict=True)
    )
    return right / len(labels)
