"""A run directory, written while the run proceeds, so that it can be read even after an interruption.

`metrics.jsonl` may be published.  `server.jsonl` and `server_view.json` are for the server's operator
only: `epsilon_release` does not hold once cohort sizes are published.  `clients/` and `personal.jsonl` hold
data that is private to each client; only a simulation has them in one place.
"""

from __future__ import annotations

import io
import json
import math
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from fedavg.errors import CheckpointError, ConfigError
from fedavg.files import check_folder, locked, replace_file
from fedavg.protocol.result import figure_row

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fedavg.config.build import Config
    from fedavg.protocol.result import RoundResult

__all__ = ["RunDirectory", "config_to_toml", "of_records"]

_LOCK = "run.lock"
_BEGUN = {_LOCK, "config.toml.part"}
"""What a start that was killed leaves before there is a run."""


def config_to_toml(config: msgspec.Struct) -> bytes:
    """A configuration as TOML; settings without a value are left out."""
    return msgspec.toml.encode(_without_none(msgspec.to_builtins(config)))


def _without_none(value: Any) -> Any:  # noqa: ANN401 - builtins of any depth
    if isinstance(value, dict):
        return {key: _without_none(part) for key, part in value.items() if part is not None}
    return value


def of_records(path: Path) -> bool:
    """Whether a configuration has the table of `fedavg records`; errors are left to its own reader."""
    try:
        return "records" in msgspec.toml.decode(path.read_bytes(), type=dict[str, object])
    except (OSError, msgspec.DecodeError):
        return False


class RunDirectory:
    """Creates a new run directory and appends to it.

    Args:
        path: a folder that does not exist yet, or is empty.

    Raises:
        ConfigError: the folder is not empty, or cannot be created.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.check(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot use {path} as a run directory: {error.strerror}") from error

    @staticmethod
    def check(path: Path) -> None:
        """Refuse a folder that could not be a new run directory, before any work; nothing is made.

        Raises:
            ConfigError: the folder is not empty, or cannot be created.
        """
        check_folder(path, "a run directory")
        try:
            occupied = path.exists() and bool({entry.name for entry in path.iterdir()} - _BEGUN)
        except OSError as error:
            raise ConfigError(f"cannot use {path} as a run directory: {error.strerror}") from error
        # A folder with other files is refused: two runs in one would overwrite each other.
        if occupied:
            raise ConfigError(f"{path} is not empty: choose another --out, or remove it")

    @classmethod
    def reopen(cls, path: Path) -> RunDirectory:
        """Open an existing run directory.

        Raises:
            ConfigError: the folder holds no config.toml.
        """
        if not (path / "config.toml").is_file():
            raise ConfigError(f"{path} is no run directory: it holds no config.toml")
        found = cls.__new__(cls)
        found.path = path
        return found

    @contextmanager
    def begun(self) -> Generator[None]:
        """Lock a new directory: of two processes that found it empty, one begins a run in it.

        Raises:
            ConfigError: another process has begun a run in it meanwhile.
        """
        with self.locked():
            self.check(self.path)
            yield

    @contextmanager
    def told(self, then: str) -> Generator[None]:
        """Name the file that the system refuses, such as on a full disk, and say how to go on.

        Args:
            then: what is kept, and what to do.

        Raises:
            CheckpointError: in place of an OSError.
        """
        try:
            yield
        except OSError as error:
            where = error.filename or self.path
            raise CheckpointError(
                f"the run stopped at {where}: {error.strerror or error}; {then}"
            ) from error

    @contextmanager
    def locked(self) -> Generator[None]:
        """Lock the directory against other processes (POSIX only); the lock ends with the process.

        Two runs at once would each charge a ledger of their own.

        Raises:
            ConfigError: another process runs it.
        """
        with locked(self.path / _LOCK, f"another process is running {self.path}: wait for it"):
            yield

    def write_config(self, config: Config) -> None:
        """Write the resolved configuration."""
        self._replace("config.toml", config_to_toml(config))
        for name in ("metrics.jsonl", "server.jsonl"):
            (self.path / name).touch()

    def append(self, result: RoundResult) -> None:
        """Append one round: its public part and its operator's part, each to its own file."""
        for name, row in _rows(result).items():
            self._append(name, row)

    def repair_logs(self, last: RoundResult | None) -> None:
        """Make both logs end with the last finished round: remove a torn line, add a missing one.

        Raises:
            CheckpointError: a line of a log was damaged.
        """
        for name, row in ({} if last is None else _rows(last)).items():
            # The checkpoint is written first, so after a crash the log may lack the last round, or hold half
            # of it.
            kept = [line for line in _whole_lines(self.path / name) if line["round"] < row["round"]]
            text = "".join(json.dumps(line) + "\n" for line in [*kept, _finite(row)])
            self._replace(name, text.encode())

    def read_rows(self, name: str) -> list[dict[str, Any]]:
        """The rounds of one log.

        Raises:
            CheckpointError: a line of the log was damaged.
        """
        return _whole_lines(self.path / name)

    def skipped(self) -> list[int]:
        """Numbers of the rounds without a sum."""
        return [row["round"] for row in self.read_rows("server.jsonl") if row["skipped"]]

    def read_summary(self) -> dict[str, Any]:
        """The content of summary.json so far; {} when the run was interrupted before it."""
        try:
            summary = json.loads((self.path / "summary.json").read_bytes())
        except (OSError, ValueError):
            return {}
        return summary if isinstance(summary, dict) else {}

    def write_json(self, name: str, value: object, mode: int | None = None) -> None:
        """Write one JSON file as a whole or not at all; with `mode` 0o600 only its owner can read it."""
        text = json.dumps(_finite(value), indent=1, allow_nan=False)
        if mode is None:
            self._replace(name, text.encode())
        else:
            replace_file(self.path / name, text.encode(), mode=mode)

    def write_array(self, name: str, array: NDArray[np.float64]) -> None:
        """Write one vector as a whole or not at all, readable by its owner only."""
        data = io.BytesIO()
        np.save(data, array, allow_pickle=False)
        replace_file(self.path / name, data.getvalue(), mode=0o600)

    def write_rows(self, name: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Write a log of one line a row as a whole or not at all; numbers that are not finite become null."""
        text = "".join(json.dumps(_finite(row), allow_nan=False) + "\n" for row in rows)
        self._replace(name, text.encode())

    def write_private(self, name: str, rows: Sequence[Mapping[str, object]]) -> None:
        """Write a file of one line a row, as a whole or not at all, readable by its owner only."""
        text = "".join(json.dumps(_finite(row), allow_nan=False) + "\n" for row in rows)
        replace_file(self.path / name, text.encode(), mode=0o600)

    def write_model(self, data: bytes) -> None:
        """Write the released model as a whole or not at all."""
        self._replace("model.safetensors", data)

    def _append(self, name: str, row: dict[str, object]) -> None:
        line = json.dumps(_finite(row), allow_nan=False) + "\n"
        path = self.path / name
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(line)
                file.flush()
                # The line is on the disk before the next round is charged, so the log lags by one round.
                os.fsync(file.fileno())
        except OSError as error:
            error.filename = (error.filename or str(path)) if error.errno else None
            raise

    def _replace(self, name: str, data: bytes) -> None:
        replace_file(self.path / name, data)


def _rows(result: RoundResult) -> dict[str, dict[str, Any]]:
    """One round's public part and its operator's part, by file."""
    public: dict[str, Any] = {
        "round": result.round,
        "accuracy": result.accuracy,
        "loss": result.loss,
        "epsilon_release": result.epsilon_release,
    }
    if result.figures:
        public["figures"] = [figure_row(figure) for figure in result.figures]
    if result.clip is not None:
        public["clip"] = result.clip
    if result.accuracy_as_sent is not None:
        public["accuracy_as_sent"] = result.accuracy_as_sent
    operator: dict[str, Any] = {
        "round": result.round,
        "cohort": result.cohort,
        "survivors": result.survivors,
        "contributors": result.contributors,
        "skipped": result.skipped is not None,
        "reason": result.skipped,
        "attempts": 1 + len(result.aborted),
        "epsilon_server": result.epsilon_server,
        "bytes_up": result.bytes_up,
        "bytes_down": result.bytes_down,
        **({"convicted": dict(result.convicted)} if result.convicted else {}),
        **({"skipped_blocks": list(result.skipped_blocks)} if result.skipped_blocks else {}),
        "seconds": {stage: round(spent, 4) for stage, spent in result.seconds.items()},
    }
    return {"metrics.jsonl": public, "server.jsonl": operator}


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a log: a killed process may have left a line without its end, which is no row.

    Raises:
        CheckpointError: another line cannot be read; the rows after it must not be dropped in silence.
    """
    *lines, _ = (path.read_bytes() if path.exists() else b"").split(b"\n")
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError:
            raise _damaged(path, number, "no JSON") from None
        if not isinstance(row, dict) or type(row.get("round")) is not int:
            raise _damaged(path, number, "no row of a round")
        # Figures of a later round, or of one round twice, would be shown as those of another round.
        if found and row["round"] <= found[-1]["round"]:
            raise _damaged(path, number, f"round {row['round']} after round {found[-1]['round']}")
        found.append(row)
    return found


def _damaged(path: Path, number: int, what: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is damaged in line {number}, which is {what}: put the line back from a copy of the file, or "
        "remove it if the log may do without that round"
    )


def _finite(value: Any) -> Any:  # noqa: ANN401 - builtins of any depth
    """Replace infinity, which JSON does not have, by null, as in "no bound"."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value
