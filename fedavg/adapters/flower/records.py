"""Our bytes in Flower's records, and Flower's records as arrays, metrics and settings."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from fedavg.errors import PlanError, WireFormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flwr.app import ArrayRecord, RecordDict
    from numpy.typing import NDArray

    from fedavg.adapters.exchange import Mean

__all__ = ["KEY", "arrays_of", "carrying", "encoded", "metrics_of", "settings_of", "taken", "told"]

KEY = "fedavg.exchange"
"""Name of our record in a message."""

_BYTES = "bytes"
_SORTED = msgspec.msgpack.Encoder(order="deterministic")
_IN_ORDER = msgspec.msgpack.Encoder()


def carrying(data: bytes) -> ArrayRecord:
    """Bytes as a record; Flower sends arrays in pieces, so that they may pass 2 GiB."""
    from flwr.app import Array, ArrayRecord  # noqa: PLC0415 - an optional engine

    return ArrayRecord({_BYTES: Array(np.frombuffer(data, np.uint8))})


def taken(content: RecordDict) -> bytes | None:
    """Our bytes in a message; None if there are none.

    Raises:
        WireFormatError: our record cannot be read.
    """
    record = content.array_records.get(KEY)
    if record is None or _BYTES not in record:
        return None
    try:
        found = record[_BYTES].numpy()
        return found.tobytes() if found.dtype == np.uint8 and found.ndim == 1 else None
    except Exception:  # noqa: BLE001 - Flower reads a stranger's bytes, and has no error of its own for it
        raise WireFormatError(f"the record {KEY!r} of a message cannot be read") from None


def arrays_of(content: RecordDict) -> tuple[str, dict[str, NDArray[np.generic]]]:
    """The one record of arrays beside ours: its name, and its arrays in its order.

    Returns:
        ("", {}) for a message without arrays.

    Raises:
        PlanError: there are two.
    """
    found = {name: record for name, record in content.array_records.items() if name != KEY}
    if len(found) > 1:
        raise PlanError(
            f"a message has the array records {', '.join(map(repr, found))}; a secure sum adds one: put "
            "them into one record, or send the others as settings"
        )
    for name, record in found.items():
        return name, {key: array.numpy() for key, array in record.items()}
    return "", {}


def metrics_of(content: RecordDict) -> dict[str, object]:
    """The metrics of a message.

    Raises:
        PlanError: two records have a metric of one name.
    """
    found: dict[str, object] = {}
    for record in content.metric_records.values():
        for name, value in record.items():
            if name in found:
                raise PlanError(f"two metric records have a metric {name!r}; rename one")
            found[name] = value
    return found


def settings_of(content: RecordDict, run_config: Mapping[str, object]) -> bytes:
    """Everything that an app is told but the values of its arrays, in one canonical form.

    Records of a message keep their order, because Flower sends it and an app may read by it. Flower passes
    the run's config on in no order, so that it is sorted. Of an array, Flower states type and shape beside
    the bytes, and reads them from the bytes again; bytes with the same values may have another order in
    memory, or go on after their end. An app may read all of this, so that it is part of the form.

    Args:
        content: the message.
        run_config: the config of the run, which reaches an app beside the message.
    """
    plain = {
        kind: {name: dict(record) for name, record in records.items()}
        for kind, records in (
            ("config", content.config_records),
            ("metrics", content.metric_records),
        )
    }
    named = [name for name in content if name != KEY]
    return _IN_ORDER.encode([named, plain, _stated(content), encoded(run_config)])


def _stated(content: RecordDict) -> list[object]:
    """What arrays say of themselves, each with a digest of its bytes as they were sent."""
    return [
        (name, key, array.dtype, array.shape, array.stype, hashlib.sha256(array.data).digest())
        for name, record in content.array_records.items()
        if name != KEY
        for key, array in record.items()
    ]


def encoded(run_config: Mapping[str, object]) -> bytes:
    """The config of a run in one canonical form.

    Raises:
        TypeError, OverflowError: a value is none that Flower sends.
    """
    return _SORTED.encode(dict(run_config))


def told(mean: Mean, name: str, weight: str) -> RecordDict:
    """A mean as the content of one reply.

    Args:
        mean: the mean.
        name: name of the record of arrays.
        weight: name of the weight, which strategies divide by.
    """
    from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict  # noqa: PLC0415 - optional

    content = RecordDict({"metrics": MetricRecord({**mean.metrics, weight: mean.weight})})
    if mean.arrays:
        content[name] = ArrayRecord({key: Array(array) for key, array in mean.arrays.items()})
    return content
