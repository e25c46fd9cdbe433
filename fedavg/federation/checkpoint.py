"""Checkpoints: what a run needs to go on after a crash, and the order in which it reaches the disk.

A round is charged, and the charge is on disk, before any client is asked; the checkpoint is replaced whole
after it.  A round that was charged but has no checkpoint stays charged, whatever became of it.  Without
noise nothing is charged; there it is on disk, before the sum of a round may be opened, whose updates are in
it.  These files name the clients of a round, so they are for the server's operator only.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dp import DpError, Ledger
from fedavg.errors import CheckpointError
from fedavg.files import FileJournal, refuse_other_names, replace_file
from fedavg.server.model import ModelState
from fedavg.sums.interface import Conviction

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path

    from numpy.typing import NDArray

    import he
    from fedavg.models.layout import Layout
    from fedavg.plan.plan import Budget
    from fedavg.plan.resolution import Resolution

__all__ = [
    "Checkpoint",
    "Journal",
    "Restart",
    "RunJournal",
    "fingerprint",
]

_FORMAT = "fedavg checkpoint 2"
_CHECKPOINT, _LEDGER, _ROUND = "checkpoint.safetensors", "ledger.json", "round.json"
_OPENED = "opened.log"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A run between two rounds.

    Args:
        fingerprint: of the plan, see `fingerprint`.
        rounds_done: rounds that are over, those without a model included.
        model: the server's model and what changes with it.
        participations: rounds in which each client sent a masked update.
        ledger: `dp.Ledger.state_dict` at that time.
        last: the last round's figures, or None before the first.
        convictions: of clients that are asked no more.
        spent: clients whose updates of the present model may be in an opened sum, where no noise covers
            them; they are not asked again before the model has moved.
        learnt: whether any client has contributed an update so far.

    Raises:
        CheckpointError: values that no run can have.

    Example:
        >>> zeros = np.zeros(2)
        >>> state = ModelState(zeros, zeros, {}, None, {})
        >>> Checkpoint("00", 1, state, {0: 1}, {}, None).rounds_done
        1
    """

    fingerprint: str
    rounds_done: int
    model: ModelState
    participations: Mapping[int, int]
    ledger: Mapping[str, Any]
    last: Mapping[str, Any] | None
    convictions: Sequence[Conviction] = ()
    spent: tuple[int, ...] = ()
    learnt: bool = True

    def __post_init__(self) -> None:
        model = self.model
        if model.vector.ndim != 1 or model.vector.shape != model.released.shape:
            raise CheckpointError("the checkpoint's two models are not vectors of one length")
        if not all(
            bool(np.isfinite(array).all())
            for array in (model.vector, model.released, *model.arrays.values())
        ):
            raise CheckpointError("the checkpoint's model holds NaN or infinity")
        if any(array.shape != model.vector.shape for array in model.arrays.values()):
            raise CheckpointError("the checkpoint's arrays are not of the model's length")
        if self.rounds_done < 0 or min(self.participations.values(), default=0) < 0:
            raise CheckpointError("the checkpoint counts fewer than no rounds")
        if model.clip is not None and not model.clip > 0:
            raise CheckpointError(f"the checkpoint's clip norm is {model.clip!r}, not positive")

    def to_bytes(self) -> bytes:
        """A safetensors file: arrays as tensors, everything else as JSON in its header."""
        model = self.model
        tensors = {"vector": model.vector, "released": model.released}
        tensors |= {f"arrays.{name}": array for name, array in model.arrays.items()}
        state = model.optimizer
        arrays = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
        tensors |= {f"optimizer.{key}": value for key, value in arrays.items()}
        numbers = {key: value for key, value in state.items() if not isinstance(value, np.ndarray)}
        header = {
            "fingerprint": self.fingerprint,
            "rounds_done": self.rounds_done,
            "numbers": numbers,
            "clip": model.clip,
            "participations": list(self.participations.items()),
            "ledger": self.ledger,
            "last": self.last,
            "voided": list(model.voided),
            "convictions": [
                [found.client, found.reason, found.context.hex(), found.evidence.hex()]
                for found in self.convictions
            ],
            "spent": list(self.spent),
            "learnt": self.learnt,
        }
        contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
        return save(contiguous, {"format": _FORMAT, "state": json.dumps(header)})

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read what `to_bytes` wrote; no code in it is ever run.

        Raises:
            CheckpointError: the file holds no checkpoint.
        """
        try:
            with safe_open(str(path), "numpy") as file:
                meta = dict(file.metadata() or {})
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
            if meta.get("format") != _FORMAT:
                raise CheckpointError(f"{path} is no checkpoint of this version")
            state = json.loads(meta["state"])
            model = ModelState(
                vector=tensors.pop("vector"),
                released=tensors.pop("released"),
                optimizer={**state["numbers"], **_arrays("optimizer", tensors)},
                clip=state["clip"],
                arrays=_arrays("arrays", tensors),
                voided=[int(number) for number in state.get("voided", ())],
            )
            return cls(
                fingerprint=str(state["fingerprint"]),
                rounds_done=int(state["rounds_done"]),
                model=model,
                participations={int(client): int(n) for client, n in state["participations"]},
                ledger=state["ledger"],
                last=state["last"],
                convictions=[
                    Conviction(int(client), str(reason), *map(bytes.fromhex, parts))
                    for client, reason, *parts in state.get("convictions", ())
                ],
                spent=tuple(int(client) for client in state.get("spent", ())),
                learnt=bool(state.get("learnt", True)),
            )
        except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged, the run cannot go on: {error}") from error


def _arrays(
    name: str, tensors: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    prefix = f"{name}."
    return {key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)}


def fingerprint(resolution: Resolution, layout: Layout, seed: int) -> str:
    """SHA-256, in hex, of what has to be the same before and after: plan, sizes, model, public seed."""
    # a resolved configuration names the cap that a plan may leave open
    limits = msgspec.structs.replace(
        resolution.plan.limits, max_participations=resolution.max_participations
    )
    plan = replace(resolution.plan, limits=limits)
    agreed = replace(resolution, plan=plan).digest
    return hashlib.sha256(agreed + f"\n{layout!r}\n{seed}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Restart:
    """A checkpoint with what was spent since.

    Args:
        checkpoint: the last finished round.
        ledger: what was charged, rounds that never finished included.
        asked: clients that were asked in the round that was running, by the round's index; each may have
            sent a masked update.
        opening: clients whose updates may be in an opened sum, by the index of the round that was running.
    """

    checkpoint: Checkpoint
    ledger: Ledger
    asked: Mapping[int, tuple[int, ...]]
    opening: Mapping[int, tuple[int, ...]] = field(default_factory=dict[int, tuple[int, ...]])

    @property
    def lost(self) -> int:
        """Rounds that were charged and never finished: the ledger's first entry is no round."""
        return max(len(self.ledger.history) - 1 - self.checkpoint.rounds_done, 0)

    def check(self, mark: str, size: int, clients: AbstractSet[int], budget: Budget) -> None:
        """Refuse what another run left behind.

        Args:
            mark: fingerprint of the run that is to go on.
            size: d, of its model.
            clients: its population.
            budget: its budget.

        Raises:
            CheckpointError: one of them differs.
        """
        point = self.checkpoint
        ours = (mark, size, clients, budget.epsilon, budget.delta)
        theirs = (point.fingerprint, point.model.vector.size, point.participations.keys())
        if ours != (*theirs, self.ledger.epsilon, self.ledger.delta):
            raise CheckpointError(
                "the checkpoint belongs to another plan, model, population or seed: go on with the "
                "configuration and the data that the run began with"
            )


class Journal(Protocol):
    """Told by a federation what must be on disk before it goes on."""

    def charged(self, ledger: Ledger, round_index: int, asked: Sequence[int]) -> None:
        """A round is charged; its clients are asked when this returns."""
        ...

    def opening(self, round_index: int, clients: Sequence[int]) -> None:
        """The sum of these clients' updates may be opened when this returns."""
        ...

    def finished(self, checkpoint: Checkpoint, ledger: Ledger) -> None:
        """A round is over; its figures are given out when this returns."""
        ...

    @property
    def opened(self) -> he.Journal:
        """The key holder's: which sums it has opened, or may have."""
        ...


class RunJournal:
    """A journal in a run directory: `ledger.json`, `round.json`, `checkpoint.safetensors`, `opened.log`.

    Args:
        folder: an existing directory, held by one process at a time.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: FileJournal | None = None

    @property
    def opened(self) -> FileJournal:
        """The key holder's record, in `opened.log`."""
        if self._opened is None:
            self._opened = FileJournal(self._folder / _OPENED)
        return self._opened

    def opening(self, round_index: int, clients: Sequence[int]) -> None:
        """Put on disk whose updates may be in an opened sum."""
        text = json.dumps({"round_index": round_index, "opening": list(clients)})
        self._replace(_ROUND, text.encode())

    def charged(self, ledger: Ledger, round_index: int, asked: Sequence[int]) -> None:
        """Put the charge on disk, then who is about to be asked."""
        self._save(ledger)
        text = json.dumps({"round_index": round_index, "asked": list(asked)})
        self._replace(_ROUND, text.encode())

    def finished(self, checkpoint: Checkpoint, ledger: Ledger) -> None:
        """Replace the checkpoint."""
        self._save(ledger)
        self._replace(_CHECKPOINT, checkpoint.to_bytes())

    def load(self) -> Restart | None:
        """What to go on from; None when nothing was charged or released yet.

        Raises:
            CheckpointError: damaged files, or a ledger that shows less than the checkpoint's.
        """
        for name in (_LEDGER, _CHECKPOINT, _ROUND):
            self._refuse_other_names(name)
        path = self._folder / _CHECKPOINT
        ledger = self._ledger()
        if not path.exists():
            if ledger is not None and ledger.history:
                raise CheckpointError(
                    f"{path} is missing, but {_LEDGER} shows releases: restore it"
                )
            return None
        checkpoint = Checkpoint.load(path)
        try:
            before = Ledger.from_state_dict(checkpoint.ledger)
        except DpError as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error
        if (
            ledger is None
            or (ledger.epsilon, ledger.delta) != (before.epsilon, before.delta)
            or ledger.history[: len(before.history)] != before.history
        ):
            raise CheckpointError(
                f"{self._folder / _LEDGER} shows less spent than was released, or another budget: put "
                "the run's own ledger back"
            )
        return Restart(checkpoint, ledger, self._running("asked"), self._running("opening"))

    def _ledger(self) -> Ledger | None:
        path = self._folder / _LEDGER
        try:
            return Ledger.load(path) if path.exists() else None
        except DpError as error:
            raise CheckpointError(
                f"{path} is damaged, so what was spent is unknown: {error}"
            ) from error

    def _running(self, name: str) -> dict[int, tuple[int, ...]]:
        """What `round.json` lists under a name, by the round's index; {} when it lists nothing there."""
        path = self._folder / _ROUND
        if not path.exists():
            return {}
        try:
            state = json.loads(path.read_bytes())
            if name not in state:
                return {}
            return {int(state["round_index"]): tuple(int(client) for client in state[name])}
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from error

    def _refuse_other_names(self, name: str) -> None:
        try:
            refuse_other_names(self._folder / name)
        except OSError as error:
            raise CheckpointError(f"cannot use {name}: {error}") from error

    def _save(self, ledger: Ledger) -> None:
        try:
            refuse_other_names(self._folder / _LEDGER)
            ledger.save(self._folder / _LEDGER)
        except (OSError, DpError) as error:
            raise CheckpointError(
                f"cannot write the ledger: {error}; nothing is released"
            ) from error

    def _replace(self, name: str, data: bytes) -> None:
        try:
            replace_file(self._folder / name, data, mode=0o600, sole=True)
        except OSError as error:
            raise CheckpointError(f"cannot write {name}: {error}; nothing is released") from error
