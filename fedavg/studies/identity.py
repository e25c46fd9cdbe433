"""The name of a cell: a digest of its trial, of the sources that compute it, and of the files it names."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from fedavg.studies.trials.interface import Trial

__all__ = ["Inputs", "code_version", "identity"]

_SHOWS_ONLY = {"audits", "cli", "reports", "runs", "studies"}  # packages that do not affect results
_AFFECTS = ("fedavg/runs/records/", "fedavg/studies/trials/")  # of these packages, what does


@functools.cache
def code_version() -> str:
    """SHA-256, hexadecimal, of the version and the sources that affect a cell's result."""
    digest = hashlib.sha256(importlib.metadata.version("secure-fedavg").encode())
    root = Path(__file__).parents[2]
    for package in ("dp", "fedavg", "he", "secagg"):
        for source in sorted((root / package).rglob("*.py")):
            path = source.relative_to(root)
            # Packages that only show results may change without making results out of date.
            shows = package == "fedavg" and path.parts[1] in _SHOWS_ONLY
            if shows and not path.as_posix().startswith(_AFFECTS):
                continue
            digest.update(f"\n{path.as_posix()}\n".encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Inputs:
    """Digests of files that configurations name; each file is read once.

    Args:
        seen: digests by path.

    Example:
        >>> Inputs().digest(Path(__file__)) == Inputs().digest(Path(__file__))
        True
    """

    seen: dict[str, str] = field(default_factory=dict[str, str])

    def digest(self, path: Path) -> str:
        """SHA-256 of a file, hexadecimal."""
        name = str(path)
        if name not in self.seen:
            with path.open("rb") as file:
                self.seen[name] = hashlib.file_digest(file, "sha256").hexdigest()
        return self.seen[name]


def identity(trial: Trial, inputs: Inputs | None = None) -> str:
    """The id of a cell: a digest of its trial, the sources, and the files that it names.

    Args:
        trial: the cell's trial.
        inputs: digests of files that were read before; None reads them.

    Example:
        >>> from fedavg.studies.trials.clients import CLIENTS
        >>> identity(CLIENTS.trial({})) == identity(CLIENTS.trial({"seed": 0}))
        True
    """
    inputs = inputs or Inputs()
    # A result depends on the data and on the user's own sources, so their contents are in the identity.
    files = [path for name in trial.named for path in (Path(name), _source(name)) if path]
    parts = {
        "config": msgspec.to_builtins(trial),
        "code": code_version(),
        "inputs": [inputs.digest(path) for path in files if path.is_file()],
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _source(name: str) -> Path | None:
    """The file of an import path: "package.module:factory", or "package.module:" for the module itself."""
    module, colon, _ = name.partition(":")
    if not colon:
        return None
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None  # the check of the cell reports the error
    return None if spec is None or spec.origin is None else Path(spec.origin)
