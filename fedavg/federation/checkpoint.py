"""Checkpoints: the data with which a run continues after a crash, and the order in which it is written.

Before any client is asked, a round is charged, and the charge is on disk; after the round the checkpoint is
replaced as a whole. A round that was charged but has no checkpoint stays charged, even if it gave no model.
Without noise nothing is charged. Then the clients of a round are on disk before the round's sum may be
opened. These files name the clients of a round, so they are for the server's operator only.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np

from dp import DpError, Ledger
from dp.ledgers.digest import from_file, to_file
from fedavg.errors import CheckpointError
from fedavg.federation.shared import charged_undrawn
from fedavg.files import FileJournal, refuse_other_names, replace_file
from fedavg.models.arrays import arrays_bytes, read_arrays
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
    from fedavg.plan.resolution import ResolvedPlan

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
    """The state of a run between two rounds.

    Args:
        fingerprint: digest of the plan, see `fingerprint`.
        rounds_done: number of finished rounds, including those without a model.
        model: the server's model, with the state that changes with it.
        participations: number of rounds in which each client sent a masked update.
        ledger: `dp.Ledger.state_dict` at that time.
        last: the last round's figures, or None before the first round.
        convictions: convictions of clients that are not asked again.
        spent: clients whose updates of the present model may be in an opened sum, where no noise covers
            them; they are not asked again before the model has moved.
        learnt: whether any client has contributed an update so far.

    Raises:
        CheckpointError: a value is impossible for a run.

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
        # NaN would spread through every later round, so it is refused here, before another round is charged.
        if not all(
            bool(np.isfinite(array).all())
            for array in (model.vector, model.released, *model.arrays.values())
        ):
            raise CheckpointError("the checkpoint's model holds NaN or infinity")
        if any(array.shape != model.vector.shape for array in model.arrays.values()):
            raise CheckpointError("the checkpoint's arrays are not of the model's length")
        if self.rounds_done < 0 or min(self.participations.values(), default=0) < 0:
            raise CheckpointError("the checkpoint's number of rounds is negative")
        if model.clip is not None and not model.clip > 0:
            raise CheckpointError(f"the checkpoint's clip norm is {model.clip!r}, not positive")

    def to_bytes(self) -> bytes:
        """Encode as a safetensors file: arrays as tensors, all other data as JSON in its header."""
        model = self.model
        tensors = {"vector": model.vector, "released": model.released}
        tensors |= {f"arrays.{name}": array for name, array in model.arrays.items()}
        state = model.optimizer
        arrays = {key: value for key, value in state.items() if isinstance(value, np.ndarray)}
        tensors |= {f"optimizer.{key}": value for key, value in arrays.items()}
        numbers = {key: value for key, value in state.items() if not isinstance(value, np.ndarray)}
        # Keys of JSON objects are strings, so participations are written as pairs to keep ids as numbers.
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
        return arrays_bytes(tensors, {"format": _FORMAT, "state": json.dumps(header)})

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read a file that `to_bytes` wrote; code in the file is never run.

        Raises:
            CheckpointError: the file holds no checkpoint.
        """
        try:
            tensors, meta = read_arrays(path, older=("format", "state"))
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
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise CheckpointError(f"{path} is damaged, the run cannot go on: {error}") from error


def _arrays(
    name: str, tensors: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    prefix = f"{name}."
    return {key.removeprefix(prefix): v for key, v in tensors.items() if key.startswith(prefix)}


def fingerprint(resolution: ResolvedPlan, layout: Layout, seed: int) -> str:
    """SHA-256, in hex, of what must not change in a resumed run: plan, sizes, model and public seed."""
    # A resolved configuration states the limit that a plan may leave open; both must match.
    limits = msgspec.structs.replace(
        resolution.plan.limits, max_participations=resolution.max_participations
    )
    plan = replace(resolution.plan, limits=limits)
    agreed = replace(resolution, plan=plan).digest
    return hashlib.sha256(agreed + f"\n{layout!r}\n{seed}".encode()).hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Restart:
    """A checkpoint, with the charges and messages after it.

    Args:
        checkpoint: checkpoint of the last finished round.
        ledger: all charges, including those of rounds that never finished.
        asked: clients that were asked in the interrupted round, by the round's index; each may have
            sent a masked update.
        opening: clients whose updates may be in an opened sum, by the index of the interrupted round.
    """

    checkpoint: Checkpoint
    ledger: Ledger
    asked: Mapping[int, tuple[int, ...]]
    opening: Mapping[int, tuple[int, ...]] = field(default_factory=dict[int, tuple[int, ...]])

    @property
    def lost(self) -> int:
        """Number of rounds that were charged and never finished; the ledger's first entry is no round."""
        return max(len(self.ledger.history) - 1 - self.checkpoint.rounds_done, 0)

    def check(self, mark: str, size: int, clients: AbstractSet[int], budget: Budget) -> None:
        """Refuse the files of another run.

        Args:
            mark: fingerprint of the run to resume.
            size: d, the length of its model.
            clients: its population.
            budget: its budget.

        Raises:
            CheckpointError: one of these differs, or the charges are for other absent clients.
        """
        point = self.checkpoint
        ours = (mark, size, clients, budget.epsilon, budget.delta)
        theirs = (point.fingerprint, point.model.vector.size, point.participations.keys())
        # One comparison covers plan, model, clients and budget: the remedy is the same for all of them.
        if ours != (*theirs, self.ledger.epsilon, self.ledger.delta):
            raise CheckpointError(
                "the checkpoint belongs to another plan, model, population or seed: go on with the "
                "configuration and the data that the run began with"
            )
        if charged_undrawn(self.ledger):
            raise CheckpointError(
                "an earlier version charged the rounds so far as if absent clients were not drawn. They are "
                "drawn and do not answer (docs/privacy.md §3.4), and no epsilon covers these rounds and new "
                "ones: begin the run anew; 'fedavg budget --sampling fixed' states what it has released"
            )


class Journal(Protocol):
    """Receives the facts that must be on disk before a federation continues."""

    def charged(self, ledger: Ledger, round_index: int, asked: Sequence[int]) -> None:
        """Record the charge of a round; its clients are asked when this returns."""
        ...

    def opening(self, round_index: int, clients: Sequence[int]) -> None:
        """Record the clients of a sum that may be opened when this returns."""
        ...

    def finished(self, checkpoint: Checkpoint, ledger: Ledger) -> None:
        """Record the end of a round; its figures are published when this returns."""
        ...

    @property
    def opened(self) -> he.Journal:
        """The key holder's record of sums that it has opened, or may have opened."""
        ...


class RunJournal:
    """A journal in a run directory: `ledger.json`, `round.json`, `checkpoint.safetensors`, `opened.log`.

    Args:
        folder: an existing directory, which one process at a time locks.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: FileJournal | None = None

    @property
    def opened(self) -> FileJournal:
        """The key holder's record, in `opened.log`.

        Raises:
            CheckpointError: it has another name, under which another run would find its rounds opened.
        """
        if self._opened is None:
            # Two names for one file would let another run forget what this one has opened.
            self._refuse_other_names(_OPENED)
            self._opened = FileJournal(self._folder / _OPENED)
        return self._opened

    def opening(self, round_index: int, clients: Sequence[int]) -> None:
        """Write to disk the clients whose updates may be in an opened sum."""
        self._replace(_ROUND, to_file({"round_index": round_index, "opening": list(clients)}))

    def charged(self, ledger: Ledger, round_index: int, asked: Sequence[int]) -> None:
        """Write the charge to disk, and then the clients that are about to be asked."""
        # The charge comes first: a crash in between leaves a round charged whose clients were not asked.
        self._save(ledger)
        self._replace(_ROUND, to_file({"round_index": round_index, "asked": list(asked)}))

    def finished(self, checkpoint: Checkpoint, ledger: Ledger) -> None:
        """Replace the checkpoint."""
        # The ledger comes first, so that it never shows less than the checkpoint, which `load` would refuse.
        self._save(ledger)
        self._replace(_CHECKPOINT, checkpoint.to_bytes())

    def load(self) -> Restart | None:
        """The data to resume from; None when nothing was charged or released yet.

        Raises:
            CheckpointError: a file is damaged, or the ledger shows less than the checkpoint's.
        """
        # A file that another run also writes would state the other run's charges.
        for name in (_LEDGER, _CHECKPOINT, _ROUND, _OPENED):
            self._refuse_other_names(name)
        path = self._folder / _CHECKPOINT
        ledger = self._ledger()
        if not path.exists():
            # Without its checkpoint a run would start anew, although its ledger was spent from.
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
            # The ledger may have grown since the checkpoint, but each charge that the checkpoint knows must
            # be in it.
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
        """The entries of `round.json` under a name, by the round's index; {} when there are none."""
        path = self._folder / _ROUND
        if not path.exists():
            return {}
        try:
            state = dict(from_file(path.read_bytes()))
            number = int(state.pop("round_index"))
            ((kind, clients),) = state.items()
            entries: dict[str, dict[int, tuple[int, ...]]] = {"asked": {}, "opening": {}}
            # Another name, by a flipped bit, is a KeyError: it would hide the clients of the round.
            entries[kind][number] = tuple(int(client) for client in clients)
            return entries[name]
        except (OSError, KeyError, TypeError, ValueError, AttributeError, DpError) as error:
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
            # The files name the clients of a round, so only the operator may read them.
            replace_file(self._folder / name, data, mode=0o600, sole=True)
        except OSError as error:
            raise CheckpointError(f"cannot write {name}: {error}; nothing is released") from error
