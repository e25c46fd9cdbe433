"""Messages between a pool and its worker processes, in msgpack: data and keys are never pickled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fedavg.algorithms.personal.scores import Score
from fedavg.models.spec import ModelSpec
from fedavg.simulation.shared_memory import BufferRef

if TYPE_CHECKING:
    from pathlib import Path

    from fedavg.data.dataset import Dataset
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.simulation.shared_memory import SharedBuffers

__all__ = [
    "Acknowledged",
    "Answers",
    "ClientData",
    "Done",
    "Enrol",
    "Equip",
    "Exchange",
    "Failed",
    "Publics",
    "Reply",
    "Request",
    "ScoreAll",
    "Scores",
    "See",
    "Seen",
    "TrainElsewhere",
    "Trained",
    "Watch",
    "decode_reply",
    "decode_request",
    "encode",
]


class ClientData(msgspec.Struct, frozen=True, array_like=True):
    """One client's own examples: arrays with their shapes, and the kind of the labels by its name."""

    client: int
    shape: list[int]
    features: bytes | BufferRef
    labels_shape: list[int]
    labels: bytes | BufferRef
    target: str
    weights: bytes | BufferRef | None

    @classmethod
    def of(cls, client: int, data: Dataset, buffers: SharedBuffers, board: int) -> ClientData:
        """A client's examples, which are put on a board if there are boards."""
        return cls(
            client,
            list(data.features.shape),
            buffers.put_array(data.features, board),
            list(data.labels.shape),
            buffers.put_array(data.labels, board),
            data.kind.name,
            None if data.weights is None else buffers.put_array(data.weights, board),
        )


class Enrol(msgspec.Struct, frozen=True, array_like=True, tag="enrol"):
    """Generate identities for these clients."""

    holdings: list[ClientData]
    fault_rate: float
    fault_seed: int
    device: str = "cpu"
    precision: str = "float32"
    unit: tuple[tuple[float, ...], tuple[float, ...]] = ((), ())
    headline: str = ""


class Equip(msgspec.Struct, frozen=True, array_like=True, tag="equip"):
    """Build the plan, the model and the secure sum's material."""

    plan: bytes
    num_clients: int
    num_rounds: int
    largest_client: int
    model: ModelSpec
    material: bytes
    seed: int
    store: str | None

    @classmethod
    def of(
        cls,
        resolution: ResolvedPlan,
        model: ModelSpec,
        material: bytes,
        seed: int,
        store: Path | None,
    ) -> Equip:
        """What another process needs to build the same plan."""
        from fedavg.plan.codec import plan_to_bytes  # noqa: PLC0415 - imports every part of a plan

        return cls(
            plan=plan_to_bytes(resolution.plan),
            num_clients=resolution.num_clients,
            num_rounds=resolution.num_rounds,
            # Each process sees only its own clients, but the plan's digest needs the largest of all.
            largest_client=resolution.max_weight if resolution.plan.weighted else 1,
            model=model,
            material=material,
            seed=seed,
            store=None if store is None else str(store),
        )

    def __repr__(self) -> str:
        return "Equip(<redacted>)"  # the material may hold a secret key


class Exchange(msgspec.Struct, frozen=True, array_like=True, tag="exchange"):
    """Let these clients answer; for some, another process has computed Δ, float64[d]."""

    round: int
    outgoing: list[tuple[int, list[bytes | BufferRef]]]
    trained: dict[int, bytes | BufferRef] = {}
    attempt: int = 0


class TrainElsewhere(msgspec.Struct, frozen=True, array_like=True, tag="lend"):
    """Train a client of another process, because that process is busy."""

    holding: ClientData
    start: bytes | BufferRef


class Acknowledged(msgspec.Struct, frozen=True, array_like=True, tag="acknowledged"):
    """One batch of answers, or one update, has been read from the worker's board."""


class Watch(msgspec.Struct, frozen=True, array_like=True, tag="watch"):
    """Put a probe into a client."""

    client: int


class See(msgspec.Struct, frozen=True, array_like=True, tag="see"):
    """Return the record of a client's probe."""

    client: int


class ScoreAll(msgspec.Struct, frozen=True, array_like=True, tag="score"):
    """Let every client score this model, float32, and its own."""

    model: bytes


class Scores(msgspec.Struct, frozen=True, array_like=True, tag="scores"):
    """The clients' own figures."""

    scores: list[Score]


class Publics(msgspec.Struct, frozen=True, array_like=True, tag="publics"):
    """The clients' public identities."""

    publics: dict[int, bytes]


class Answers(msgspec.Struct, frozen=True, array_like=True, tag="answers"):
    """The answers of some clients, or the reasons why they dropped out."""

    deliveries: list[tuple[int, list[bytes | BufferRef], str | None]]
    last: bool


class Trained(msgspec.Struct, frozen=True, array_like=True, tag="trained"):
    """The Δ of a client of another process, or None."""

    client: int
    update: bytes | BufferRef | None


class Seen(msgspec.Struct, frozen=True, array_like=True, tag="seen"):
    """The vectors of a probe's record."""

    encoded: bytes
    noised: bytes


class Done(msgspec.Struct, frozen=True, array_like=True, tag="done"):
    """The request was carried out."""


class Failed(msgspec.Struct, frozen=True, array_like=True, tag="failed"):
    """The request failed."""

    reason: str


Request = Enrol | Equip | Exchange | TrainElsewhere | Acknowledged | Watch | See | ScoreAll
Reply = Publics | Answers | Trained | Seen | Scores | Done | Failed
_ENCODER = msgspec.msgpack.Encoder()
_REQUESTS = msgspec.msgpack.Decoder(Request)
_REPLIES = msgspec.msgpack.Decoder(Reply)


def encode(message: Request | Reply) -> bytes:
    """The bytes of a message."""
    return _ENCODER.encode(message)


def decode_request(data: bytes) -> Request:
    """Decode a request of the pool."""
    return _REQUESTS.decode(data)


def decode_reply(data: bytes) -> Reply:
    """Decode a worker's reply."""
    return _REPLIES.decode(data)
