"""The device on which a model is trained and scored, and the precision.

Only models and examples move to a device. Updates return to the CPU as float64. Clipping, noise, encoding and
the protocol stay on the CPU, and no privacy claim depends on the settings here.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch

from fedavg.errors import ConfigError
from fedavg.parts.nearest import offered

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from torch import nn

__all__ = ["CPU", "Compute", "DeviceName", "Precision", "in_mode"]

DeviceName = Literal["cpu", "cuda", "mps", "auto"]
Precision = Literal["float32", "bfloat16", "float16"]
_MEANT = {
    "gpu": "cuda",
    "metal": "mps",
}  # everyday names of devices, nearer to another name by their letters


@dataclass(frozen=True, slots=True)
class Compute:
    """A device and a precision.

    Args:
        device: "cpu", "cuda", "mps", or "auto" for the first available of cuda, mps and cpu.  "cuda:1"
            names one of several.
        precision: "float32", or mixed precision. With "bfloat16" and "float16", `torch.autocast` runs those
            operations of the model in that type that allow it; parameters, losses and steps stay in
            float32.

    Raises:
        ConfigError: the device or precision is unknown, or this machine does not have the device.

    Example:
        >>> Compute("cpu").torch_device, Compute().mixed
        (device(type='cpu'), False)
    """

    device: str = "cpu"
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise ConfigError(
                f"there is no precision {self.precision!r}; "
                f"{offered(self.precision, get_args(Precision))}"
            )
        kind = str(self.device).partition(":")[0]
        if kind not in get_args(DeviceName):
            raise ConfigError(
                f"there is no device {self.device!r}; {offered(_MEANT.get(kind, kind), get_args(DeviceName))}"
            )
        if kind == "auto":
            object.__setattr__(self, "device", _best())
        elif kind != "cpu" and not _is_there(kind):
            raise ConfigError(
                f"device {self.device!r} is not available: torch {torch.__version__} finds no {kind} here; "
                "choose 'auto', which takes the best available device, or 'cpu'"
            )

    @property
    def torch_device(self) -> torch.device:
        """The device as torch names it."""
        return torch.device(self.device)

    @property
    def mixed(self) -> bool:
        """Whether autocast is on."""
        return self.precision != "float32"

    @property
    def plain(self) -> bool:
        """Whether this is the CPU in float32, which the fast paths need."""
        return self.torch_device.type == "cpu" and not self.mixed

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass."""
        if not self.mixed:
            return contextlib.nullcontext()
        kind: torch.dtype = getattr(torch, self.precision)
        return torch.autocast(self.torch_device.type, dtype=kind)

    def place(self, model: nn.Module) -> None:
        """Move a module to the device, in place, if it is not there yet."""
        # `to` visits every tensor of the module, which is wasted where all are on the CPU already.
        if self.torch_device.type != "cpu" or any(not part.is_cpu for part in model.parameters()):
            model.to(self.torch_device)

    @contextlib.contextmanager
    def seeded(self, seed: int) -> Generator[None]:
        """Seed torch's generators temporarily, so that dropout follows a public seed.

        Afterwards the generators of the CPU and of the device have their former states.
        """
        device = self.torch_device
        held = [] if device.type == "cpu" else [device]
        kind = "cuda" if device.type == "cpu" else device.type
        with torch.random.fork_rng(devices=held, device_type=kind):
            if device.type == "cpu":
                # torch.manual_seed would also note the seed, with a stack trace, for devices not in use.
                torch.default_generator.manual_seed(seed)
            else:
                torch.manual_seed(seed)
            yield


def _is_there(kind: str) -> bool:
    return torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available()


def _best() -> str:
    return next((kind for kind in ("cuda", "mps") if _is_there(kind)), "cpu")


CPU = Compute()
"""The CPU in float32."""


@contextlib.contextmanager
def in_mode(model: nn.Module, *, training: bool) -> Generator[None]:
    """Temporarily put a module into training or evaluation mode.

    If its owner put a part into evaluation mode, inside of a module in training mode, the part stays in that
    mode: owners freeze layers in this way, so that their statistics are only read.

    Args:
        model: a module with the modes that its owner chose; they are restored afterwards.
        training: whether to switch to training mode.
    """
    before = [(part, part.training) for part in model.modules()]
    held = [part for part, was in before if not was] if model.training else []
    try:
        model.train(training)
        if training:
            for part in held:
                part.training = False
        yield
    finally:
        for part, was in before:
            part.training = was
