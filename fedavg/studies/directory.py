"""A study's directory: one file a cell, written whole or not at all, whatever ends the process.

Records outlive the study that made them: a changed study finds those of its cells that were run before.
"""

from __future__ import annotations

import os
import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import msgspec

from fedavg.config.settings import Config
from fedavg.errors import ConfigError
from fedavg.files import locked, replace_file
from fedavg.studies.cell import Derived, Measured

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["Record", "StudyDirectory", "environment"]

_MARK = "study.toml"
_OURS = {
    "cells",
    "sweep.lock",
    f"{_MARK}.part",
}  # all that a first start may leave when it is killed


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of a cell.

    Args:
        state: "failed" is tried again the next time, "done" never.
        reason: of a failure.
        environment: versions and machine that it ran on.
    """

    format: Literal[1] = 1
    id: str
    state: Literal["done", "failed"]
    config: Config
    derived: Derived
    measured: Measured | None = None
    reason: str = ""
    environment: dict[str, str] = msgspec.field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if (self.state == "done") != (self.measured is not None):
            raise ValueError("a record has figures when it is done, and only then")


_RECORDS = msgspec.json.Decoder(Record)


def environment() -> dict[str, str]:
    """Versions and machine, for whoever compares figures later."""
    from importlib.metadata import version  # noqa: PLC0415 - once a study

    packages = {name: version(name) for name in ("secure-fedavg", "torch", "numpy")}
    machine = f"{platform.machine()}, {os.cpu_count()} processors"
    return {"python": platform.python_version(), **packages, "machine": machine}


class StudyDirectory:
    """Opens a study's directory, or makes one of a folder that is empty or not there.

    Args:
        path: the folder.

    Raises:
        ConfigError: it holds something else, or cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            others = {entry.name for entry in path.iterdir()} - _OURS
            if others and not (path / _MARK).is_file():
                raise ConfigError(f"{path} is not empty, and no study: it holds no {_MARK}")
            (path / "cells").mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot use {path}: {error.strerror}") from error

    @contextmanager
    def locked(self) -> Generator[None]:
        """Keep other processes out of this directory (POSIX only); falls with the process.

        Raises:
            ConfigError: another process works in it.
        """
        with locked(
            self.path / "sweep.lock", f"another process sweeps in {self.path}: wait for it"
        ):
            yield

    def keep_study(self, text: bytes) -> None:
        """Keep the study file beside its results."""
        self.write(_MARK, text)

    def read(self, cell_id: str) -> Record | None:
        """What is kept of a cell; None for nothing, and for a file that is torn or another's."""
        try:
            record = _RECORDS.decode((self.path / "cells" / f"{cell_id}.json").read_bytes())
        except (OSError, msgspec.DecodeError):
            return None
        return record if record.id == cell_id else None

    def keep(self, record: Record) -> None:
        """Write a cell's record, whole or not at all."""
        data = msgspec.json.format(msgspec.json.encode(record), indent=1)
        self.write(f"cells/{record.id}.json", data)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, whole or not at all."""
        replace_file(self.path / name, data)
