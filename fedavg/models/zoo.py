"""Models by name: softmax, perceptrons, McMahan's CNN, a character LSTM, or your own factory function."""

from __future__ import annotations

import functools
import itertools
import math
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from fedavg import checks
from fedavg.errors import ConfigError, FedAvgError
from fedavg.parts.imports import called, said
from fedavg.parts.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "CharLSTM",
    "FeedForward",
    "McMahanCNN",
    "build_model",
    "channels_last",
    "count_parameters",
]


class FeedForward(nn.Module):
    """Dense layers with ReLU between them; without a hidden layer, logistic regression.

    Local training recognises this class and trains it without autograd.

    Args:
        widths: numbers of inputs, hidden units of each layer, and classes.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.Linear(fan_in, fan_out) for fan_in, fan_out in itertools.pairwise(widths)
        )

    def dense(self) -> list[nn.Linear]:
        """Return the layers, inputs first."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def narrowed(self, widths: Sequence[int]) -> FeedForward:
        """Return such a module with other numbers of hidden units, inputs first."""
        dense = self.dense()
        return FeedForward((dense[0].in_features, *widths, dense[-1].out_features))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits float32[n, classes] of float32[n, ...]."""
        hidden = inputs.flatten(1)
        *inner, last = self.dense()
        for layer in inner:
            hidden = functional.relu(layer(hidden))
        return last(hidden)


class McMahanCNN(nn.Module):
    """Two 5×5 convolutions (32, 64 channels), each with 2×2 max pooling, then 512 units.

    McMahan et al. 2017, §3: 1,663,370 parameters at ten classes.

    Args:
        num_classes: number of outputs.
        widths: channels of both convolutions, and number of dense units, if not those of the paper.
    """

    def __init__(self, num_classes: int, widths: Sequence[int] = (32, 64, 512)) -> None:
        super().__init__()
        first, second, dense = widths
        self.conv1 = nn.Conv2d(1, first, 5, padding=2)
        self.conv2 = nn.Conv2d(first, second, 5, padding=2)
        self.dense = nn.Linear(second * 7 * 7, dense)
        self.output = nn.Linear(dense, num_classes)

    def narrowed(self, widths: Sequence[int]) -> McMahanCNN:
        """Return such a module with other numbers of channels and dense units."""
        return McMahanCNN(self.output.out_features, widths)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits float32[n, classes] of images float32[n, 784] or [n, (1,) 28, 28]."""
        images = inputs.reshape(-1, 1, 28, 28)
        hidden = functional.max_pool2d(functional.relu(self.conv1(images)), 2)
        hidden = functional.max_pool2d(functional.relu(self.conv2(hidden)), 2)
        return self.output(functional.relu(self.dense(hidden.flatten(1))))


class CharLSTM(nn.Module):
    """Prediction of the next character: an embedding of size 8, LSTM layers, and one dense layer.

    It follows McMahan et al. 2017, §3, whose LSTM has two layers of 256 units; the defaults suit a CPU.

    Args:
        num_classes: V, the size of the alphabet, which is both read and predicted.
        hidden: number of units of each LSTM layer.
    """

    def __init__(self, num_classes: int, hidden: Sequence[int] = (64,)) -> None:
        super().__init__()
        self.embedding = nn.Embedding(num_classes, 8)
        self.memory = nn.ModuleList(
            nn.LSTM(fan_in, width, batch_first=True)
            for fan_in, width in itertools.pairwise((8, *hidden))
        )
        self.output = nn.Linear(hidden[-1], num_classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return logits float32[n, V] of codes float32[n, characters], whole numbers in [0, V)."""
        hidden = self.embedding(inputs.long())
        for layer in self.memory:
            hidden, _ = layer(hidden)
        return self.output(hidden[:, -1])


def _softmax(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    model = FeedForward((math.prod(input_shape), num_classes))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()  # the problem is convex, so zeros favour no class and need no seed
    return model


def _mlp(
    input_shape: tuple[int, ...], num_classes: int, hidden: tuple[int, ...] = (64,)
) -> nn.Module:
    return FeedForward((math.prod(input_shape), *hidden, num_classes))


def _two_hidden(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    return FeedForward((math.prod(input_shape), 200, 200, num_classes))


def _char_lstm(
    input_shape: tuple[int, ...], num_classes: int, hidden: tuple[int, ...] = (64,)
) -> nn.Module:
    if len(input_shape) != 1:
        raise ConfigError(
            f"model 'char-lstm' takes windows of character codes, not examples of shape {input_shape}"
        )
    return CharLSTM(num_classes, hidden)


def _cnn(input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    if input_shape not in {(784,), (28, 28), (1, 28, 28)}:
        raise ConfigError(
            "the built-in model 'cnn' takes grey images of 28×28 pixels, but an example has the shape "
            f"{'×'.join(map(str, input_shape))}. For a folder of images, say [data] image_size = [28, 28] "
            "and channels = 1. For other sizes, give a model of your own (module:function), or choose "
            "'softmax', 'mlp' or '2nn', which take any shape"
        )
    return channels_last(McMahanCNN(num_classes))


def channels_last(model: nn.Module) -> nn.Module:
    """The same module with the memory layout of convolutions that is fastest on CPUs."""
    for convolution in (part for part in model.modules() if isinstance(part, nn.Conv2d)):
        weight = convolution.weight
        # `contiguous` would not change the strides of a single channel, and these choose the kernel.
        weight.data = weight.data.to(memory_format=torch.channels_last)
    return model


_BUILT_IN: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {
    "softmax": _softmax,
    "mlp": _mlp,
    "2nn": _two_hidden,
    "cnn": _cnn,
    "char-lstm": _char_lstm,
}
_WIDTHS = ("mlp", "char-lstm")  # models with variable hidden widths
_LINEAR = "softmax, which is linear: logistic regression for classes, linear regression for numbers"
_ELSEWHERE = {  # what other packages call these models
    "linear": _LINEAR,
    "logistic": _LINEAR,
    "logistic-regression": _LINEAR,
    "linear-regression": _LINEAR,
    "logreg": _LINEAR,
    "ridge": _LINEAR,
    "perceptron": "mlp",
    "neural-network": "mlp",
    "dense": "mlp",
    "convnet": "cnn",
}


def build_model(
    name: str,
    input_shape: tuple[int, ...],
    num_classes: int,
    *,
    seed: int,
    hidden: tuple[int, ...] = (),
) -> nn.Module:
    """Build a model with reproducible initial weights.

    Args:
        name: "softmax" (starts at zero), "mlp" (64 hidden units by default), "2nn" (McMahan's
            200-200), "cnn" (McMahan's, 28×28), "char-lstm" (64 units by default); or
            "package.module:factory".  An import path runs that module's code: accept configurations only
            from sources from which you would accept code.  The factory is called as
            factory(input_shape, num_classes) and returns an nn.Module from features to logits.
        input_shape: shape of one example.
        num_classes: number of outputs, one or more: K classes, or the number of predicted values or labels.
        seed: public seed of the initial weights; torch's global generator does not change.
        hidden: widths of hidden layers, inputs first, of a model with variable widths; () for the default.

    Raises:
        ConfigError: the name is unknown, the path cannot be imported, the factory returns no module, or the
            model has fixed widths.

    Example:
        >>> count_parameters(build_model("softmax", (196,), 10, seed=0))
        1970
    """
    if num_classes < 1 or not input_shape or min(input_shape) < 1:
        raise ConfigError(f"no model goes from shape {input_shape} to {num_classes} outputs")
    factory = _imported(name) if ":" in name else _built_in(name)
    if hidden:
        _check_widths(name, hidden)
        factory = functools.partial(factory, hidden=tuple(hidden))
    # The caller's random numbers go on as if no model had been built.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model = factory(tuple(input_shape), num_classes)
        except FedAvgError:
            raise
        except Exception as error:
            raise ConfigError(
                f"model {name!r} cannot be built: it is called as factory(input_shape, outputs) with "
                f"{tuple(input_shape)} and {num_classes}, and raised {said(error)}"
            ) from error
    if not isinstance(model, nn.Module):
        raise ConfigError(f"model {name!r} gave a {type(model).__name__}, not a torch.nn.Module")
    return model


def _check_widths(name: str, hidden: tuple[int, ...]) -> None:
    if name not in _WIDTHS:
        raise ConfigError(
            f"model {name!r} has its own widths: leave out hidden, or choose {' or '.join(_WIDTHS)}"
        )
    for width in hidden:
        checks.config.whole("a hidden width", width)


def _built_in(name: str) -> Callable[[tuple[int, ...], int], nn.Module]:
    factory = _BUILT_IN.get(name)
    if factory is None:
        called_so = {**{built: built for built in _BUILT_IN}, **_ELSEWHERE}
        near = nearest(name, called_so)
        meant, _, why = called_so[near[0]].partition(", ") if near else ("", "", "")
        hint = f". Do you mean {meant!r}{why and f', {why}'}?" if near else ""
        raise ConfigError(
            f"there is no model {name!r}; built in are {', '.join(_BUILT_IN)}, "
            f"or give 'package.module:factory'{hint}"
        )
    return factory


def _imported(path: str) -> Callable[[tuple[int, ...], int], object]:
    return called(path, "the model")


def count_parameters(model: nn.Module) -> int:
    """Return d, the number of trained parameters."""
    return sum(part.numel() for part in model.parameters() if part.requires_grad)
