"""Transfer between tasks: start from a model file, reinitialise some layers, freeze others.

A frozen parameter is not part of the vector: it is never trained, never sent, and needs no noise.
"""

from __future__ import annotations

import hashlib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from fedavg.errors import ConfigError, DataError
from fedavg.parts.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.models.layout import Layout

__all__ = [
    "file_digest",
    "freeze",
    "matching",
    "model_bytes",
    "read_tensors",
    "rest_digest",
    "start",
]

_SHOWN = 6  # names in a message


def matching(patterns: Iterable[str], names: Collection[str], what: str) -> frozenset[str]:
    """The names that any glob pattern matches.

    Args:
        patterns: patterns such as "layers.0.*"; upper and lower case differ.
        names: names of parameters.
        what: owner of the patterns, for the message.

    Raises:
        ConfigError: a pattern matches nothing; the message has similar names.

    Example:
        >>> sorted(matching(["body.*"], ["body.weight", "body.bias", "head.bias"], "model.freeze"))
        ['body.bias', 'body.weight']
    """
    found: set[str] = set()
    for pattern in patterns:
        here = {name for name in names if fnmatchcase(name, pattern)}
        # A pattern without a match is nearly always a slip, and would silently freeze or replace nothing.
        if not here:
            near = nearest(pattern, names, 3)
            hint = f"near are {', '.join(near)}" if near else f"there are {_listed(names)}"
            raise ConfigError(f"{what}: no tensor is called {pattern!r}; {hint}")
        found |= here
    return frozenset(found)


def _listed(names: Iterable[str]) -> str:
    ordered = sorted(names)
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    return ", ".join(ordered[:_SHOWN]) + more


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Exclude parameters from training, by pattern.

    Raises:
        ConfigError: a pattern matches no parameter.
    """
    parameters = dict(model.named_parameters())
    for name in matching(patterns, parameters, "model.freeze"):
        parameters[name].requires_grad = False


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        DataError: the file cannot be read.
    """
    return hashlib.sha256(_bytes_of(path)).hexdigest()


def _bytes_of(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"cannot read the model file {path}: {error.strerror}") from error


def read_tensors(path: str | Path, digest: str | None = None) -> dict[str, torch.Tensor]:
    """Read a safetensors file; code in the file is never run.

    Args:
        path: path of the file.
        digest: SHA-256, in hex, that the file must still have; None accepts any content.

    Raises:
        DataError: the file does not exist, has another digest, is no safetensors file, or holds NaN or
            infinity.
    """
    data = _bytes_of(path)
    # A resumed run, or a worker, must start from the same weights as the run that was planned.
    if digest is not None and hashlib.sha256(data).hexdigest() != digest:
        raise DataError(
            f"the model file {path} has changed since the run was set up: put the old one back, or "
            "start a new run"
        )
    try:
        tensors = load(data)
    except SafetensorError as error:
        raise DataError(f"{path} is no safetensors file: {error}") from error
    for name, tensor in tensors.items():
        # NaN would spread through every update, and only be noticed after a round.
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise DataError(f"{path}: {name} holds NaN or infinity")
    return tensors


def start(
    model: nn.Module, tensors: Mapping[str, torch.Tensor], fresh: Sequence[str], source: str
) -> None:
    """Overwrite a model's tensors with those of a file; nothing is written if they do not fit.

    Args:
        model: a model with new initial weights.
        tensors: tensors of the file, by name.
        fresh: patterns of tensors that keep their initial weights, even if the file has them.
        source: name of the file, for messages.

    Raises:
        ConfigError: a tensor that is not fresh is missing, superfluous, or of another shape or kind; or a
            pattern matches nothing.
    """
    ours = _whole(model)
    anew = matching(fresh, ours.keys() | tensors.keys(), "model.fresh")
    wrong = [
        f"{name} is {_kind(tensors[name])} there and {_kind(ours[name])} here"
        for name in ours.keys() & tensors.keys() - anew
        if _kind(tensors[name]) != _kind(ours[name])
    ]
    missing, spare = ours.keys() - tensors.keys() - anew, tensors.keys() - ours.keys() - anew
    # All differences are named at once, so that one attempt shows what to change.
    if missing:
        wrong.append(f"it lacks {_listed(missing)}")
    if spare:
        wrong.append(f"the model has no {_listed(spare)}")
    if wrong:
        raise ConfigError(
            f"the model file {source} does not fit: {'; '.join(sorted(wrong))}. Name in model.fresh what "
            "is to begin anew"
        )
    # Nothing is written before every name and shape has been compared.
    with torch.no_grad():
        for name in ours.keys() - anew:
            ours[name].copy_(tensors[name])


def _kind(tensor: torch.Tensor) -> str:
    kind = "real" if tensor.is_floating_point() else str(tensor.dtype).removeprefix("torch.")
    return f"{kind} {tuple(tensor.shape)}"


def _whole(model: nn.Module) -> dict[str, torch.Tensor]:
    """All tensors of a model: parameters, frozen or not, and the buffers that files contain."""
    # Buffers that a module declares as not persistent are in none of its files.
    kept = model.state_dict().keys()
    buffers = {name: part for name, part in model.named_buffers() if name in kept}
    return dict(model.named_parameters()) | buffers


def rest_digest(model: nn.Module) -> str:
    """SHA-256, in hex, of a model's tensors beside the trained vector; "" if there are none."""
    trained = {name for name, part in model.named_parameters() if part.requires_grad}
    rest = {name: part for name, part in _whole(model).items() if name not in trained}
    if not rest:
        return ""
    digest = hashlib.sha256(b"fedavg frozen v1")
    # The names are sorted, so that the digest does not depend on the order of construction.
    for name in sorted(rest):
        part = rest[name].detach().cpu().contiguous()
        digest.update(f"\n{name} {part.dtype} {tuple(part.shape)}\n".encode())
        # Bytes are hashed and not numbers, so that NaN and minus zero are told apart.
        digest.update(part.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def model_bytes(
    model: nn.Module, layout: Layout, vector: NDArray[np.floating], kept: Collection[str] = ()
) -> bytes:
    """The whole model as a safetensors file: the vector's tensors, and what is frozen beside it.

    Args:
        model: module with the frozen part.
        layout: layout of the trained part.
        vector: float64[d] or float32[d], the trained part.
        kept: tensors that stay at the clients: they are left out, and the file's metadata names them.

    Raises:
        LocalProtocolError: the vector does not fit the layout.
    """
    rest = {name: part.detach() for name, part in _whole(model).items() if name not in kept}
    tensors = {name: part.cpu().clone().contiguous() for name, part in rest.items()}
    tensors |= layout.unflatten(vector)
    note = {"kept_by_clients": " ".join(sorted(kept))} if kept else {}
    return save(tensors, {"format": "pt", **note})
