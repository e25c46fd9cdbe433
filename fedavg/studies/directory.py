"""A study's directory: one file for each cell, written as a whole or not at all.

Records outlive the study that made them: a changed study finds those of its cells that were run before.
"""

from __future__ import annotations

import os
import platform
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import msgspec

from fedavg.errors import ConfigError
from fedavg.files import locked, replace_file
from fedavg.studies.trials.catalogue import AnyDerived, AnyMeasured, AnyTrial

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["Record", "StudyDirectory", "environment"]

_MARK = "study.toml"
_OURS = {
    "cells",
    "sweep.lock",
    f"{_MARK}.part",
}  # the files that an interrupted first start may leave


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The stored result of a cell.

    Args:
        state: "failed" or "done"; failed cells are tried again the next time.
        reason: reason of a failure.
        environment: versions and machine of the run.
    """

    format: Literal[2] = 2
    id: str
    state: Literal["done", "failed"]
    trial: AnyTrial
    derived: AnyDerived
    measured: AnyMeasured | None = None
    reason: str = ""
    environment: dict[str, str] = msgspec.field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if (self.state == "done") != (self.measured is not None):
            raise ValueError("a record has figures when it is done, and only then")


_RECORDS = msgspec.json.Decoder(Record)


def environment() -> dict[str, str]:
    """Versions and machine, for later comparisons of figures."""
    from importlib.metadata import version  # noqa: PLC0415 - once a study

    packages = {name: version(name) for name in ("secure-fedavg", "torch", "numpy")}
    machine = f"{platform.machine()}, {os.cpu_count()} processors"
    return {"python": platform.python_version(), **packages, "machine": machine}


class StudyDirectory:
    """Opens a study's directory, or creates one in a folder that is empty or missing.

    Args:
        path: path of the folder.

    Raises:
        ConfigError: the folder holds something else, or cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True)
            others = {entry.name for entry in path.iterdir()} - _OURS
            # The mark tells a study's folder from any other, which must not be written into.
            if others and not (path / _MARK).is_file():
                raise ConfigError(f"{path} is not empty, and no study: it holds no {_MARK}")
            (path / "cells").mkdir(exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot use {path}: {error.strerror}") from error

    @contextmanager
    def locked(self) -> Generator[None]:
        """Lock the directory against other processes (POSIX only); the lock ends with the process.

        Raises:
            ConfigError: another process works in it.
        """
        with locked(
            self.path / "sweep.lock", f"another process sweeps in {self.path}: wait for it"
        ):
            yield

    def keep_study(self, text: bytes) -> None:
        """Store the study file beside its results."""
        self.write(_MARK, text)

    def read(self, cell_id: str) -> Record | None:
        """The stored result of a cell; None if there is none, or if the file is torn or another cell's."""
        try:
            record = _RECORDS.decode((self.path / "cells" / f"{cell_id}.json").read_bytes())
        # A record that cannot be read is treated as missing, and its cell is run again.
        except (OSError, msgspec.DecodeError):
            return None
        return record if record.id == cell_id else None

    def keep(self, record: Record) -> None:
        """Write a cell's record, as a whole or not at all."""
        data = msgspec.json.format(msgspec.json.encode(record), indent=1)
        self.write(f"cells/{record.id}.json", data)

    def write(self, name: str, data: bytes) -> None:
        """Write a file, as a whole or not at all."""
        replace_file(self.path / name, data)
