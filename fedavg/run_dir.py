"""A run directory: written as the run goes, so that whatever ends it leaves something to read.

`metrics.jsonl` may be published.  `server.jsonl` and `server_view.json` are for the server's operator
only: published cohort sizes void `epsilon_release`.
"""

from __future__ import annotations

import json
import math
import os
from typing import TYPE_CHECKING, Any

import msgspec

from fedavg.errors import ConfigError
from fedavg.tensors import save_model

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from fedavg.config import Config
    from fedavg.federation import RoundResult
    from fedavg.tensors import Layout

__all__ = ["RunDirectory", "config_to_toml"]


def config_to_toml(config: Config) -> bytes:
    """A configuration as TOML; what is unset stays out."""
    return msgspec.toml.encode(_without_none(msgspec.to_builtins(config)))


def _without_none(value: Any) -> Any:  # noqa: ANN401 - builtins of any depth
    if isinstance(value, dict):
        return {key: _without_none(part) for key, part in value.items() if part is not None}
    return value


class RunDirectory:
    """Creates a new run directory and appends to it.

    Args:
        path: a folder that does not exist yet, or is empty.

    Raises:
        ConfigError: the folder holds something, or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            occupied = any(path.iterdir())
        except OSError as error:
            raise ConfigError(f"cannot use {path} as a run directory: {error.strerror}") from error
        if occupied:
            raise ConfigError(f"{path} is not empty: choose another --out, or remove it")

    def write_config(self, config: Config) -> None:
        """Write the resolved configuration."""
        self._replace("config.toml", config_to_toml(config))
        for name in ("metrics.jsonl", "server.jsonl"):
            (self.path / name).touch()

    def append(self, result: RoundResult) -> None:
        """Append one round: its public part and its operator's part, to their own files."""
        public: dict[str, object] = {
            "round": result.round,
            "accuracy": result.accuracy,
            "loss": result.loss,
            "epsilon_release": result.epsilon_release,
        }
        if result.clip is not None:
            public["clip"] = result.clip
        self._append("metrics.jsonl", public)
        self._append(
            "server.jsonl",
            {
                "round": result.round,
                "cohort": result.cohort,
                "survivors": result.survivors,
                "skipped": result.skipped is not None,
                "reason": result.skipped,
                "epsilon_server": result.epsilon_server,
                "bytes_up": result.bytes_up,
                "bytes_down": result.bytes_down,
                "seconds": {stage: round(spent, 4) for stage, spent in result.seconds.items()},
            },
        )

    def write_json(self, name: str, value: object) -> None:
        """Write one JSON file whole or not at all."""
        text = json.dumps(_finite(value), indent=1, allow_nan=False)
        self._replace(name, text.encode())

    def write_model(self, layout: Layout, vector: NDArray[np.float64]) -> None:
        """Write the released model whole or not at all."""
        temporary = self.path / "model.safetensors.part"
        save_model(temporary, layout, vector)
        temporary.replace(self.path / "model.safetensors")

    def _append(self, name: str, row: dict[str, object]) -> None:
        line = json.dumps(_finite(row), allow_nan=False) + "\n"
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def _replace(self, name: str, data: bytes) -> None:
        temporary = self.path / f"{name}.part"
        temporary.write_bytes(data)
        temporary.replace(self.path / name)


def _finite(value: Any) -> Any:  # noqa: ANN401 - builtins of any depth
    """JSON has no infinity: it becomes null, as in "no bound"."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value
