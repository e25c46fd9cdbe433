"""The configuration's table [data]: the examples, their columns, and their partition over the clients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from fedavg.data.partitions.split import SplitName
from fedavg.data.tables.files import FileFormat
from fedavg.data.tables.schemas.schema import TaskName

__all__ = ["WITHOUT_NOISE", "Chosen", "DataConfig", "PartitionName"]

# The end of a refusal under noise, which runs that cannot do without noise take off.
WITHOUT_NOISE = "; or choose privacy.noise = 'none' (--noise none)"

PartitionName = Literal["auto", "noisy-sort", "iid", "shards", "dirichlet", "quantity", "natural"]


@dataclass(frozen=True, slots=True)
class Chosen:
    """One setting that was chosen.

    Args:
        key: dotted name of the setting, as in a configuration.
        value: the chosen value.
        why: reason of the choice; completes the sentence "chosen because …".
    """

    key: str
    value: object
    why: str

    def __str__(self) -> str:
        shown = f'"{self.value}"' if isinstance(self.value, str) else f"{self.value}"
        return f"{self.key} = {shown}, chosen because {self.why}"


class DataConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which examples, and how they lie on the clients.

    `classes` lists the classes to keep, by number or by name; they are numbered anew in that order, and ()
    keeps all classes.

    Tables: `schema` is a file such as `fedavg data schema` writes. `target`, `client`, `group`, `weight`,
    `time`, `task`, `markers`, `file` and `columns` have the same meaning as in such a file, and override it.
    `bounds` and `vocabulary` are short forms for columns of numbers and of categories, and `leave_out` for
    columns to ignore. `buckets` hashes the words of a column that has too many for a vocabulary. `declared` =
    false states that the columns were derived from the rows. Without a schema, one is proposed from the rows,
    which is refused under noise.

    Arrays: `bounds` are public bounds of all features, `x`, and of all numbers to predict, `y`. Under noise,
    only these bring the arrays to unit scale.

    Folders of images: `image_size` is height and width, and `channels` is 1 for grey or 3 for colour. If they
    are left out, they are taken from the images.

    The default of `clients` is 1,000 for a large built-in set, and depends on the number of rows otherwise.
    `partition` "auto" means "natural" if the examples have owners; otherwise it means "noisy-sort" for a
    built-in set and "iid" for a file. `test_fraction` is the share that is held out to score on; `split` says
    whether it is a share of the rows, the clients or the groups. `test_from`, an ISO date, holds out the rows
    of that day and later in place of a share, by the date in the column `time`. A model still reads that
    column if it has a kind that is read.

    Example:
        >>> from fedavg import place
        >>> config = DataConfig(name="digits", classes=(3, 8), clients=4, partition="iid")
        >>> placed = place(config, None)
        >>> placed.task.label_names, [len(client) for client in placed.clients.values()]
        (('3', '8'), [72, 71, 71, 71])
    """

    name: str = "mnist-14x14"
    classes: tuple[int | str, ...] = ()
    schema: str = ""
    target: str | tuple[str, ...] = ""
    client: str = ""
    group: str = ""
    weight: str = ""
    time: str = ""
    task: TaskName = "auto"
    declared: bool = True
    markers: tuple[str, ...] = ()
    file: FileFormat = FileFormat()
    columns: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])
    leave_out: tuple[str, ...] = ()
    image_size: tuple[int, int] | None = None
    channels: int = 0
    bounds: dict[str, tuple[float, float]] = msgspec.field(
        default_factory=dict[str, tuple[float, float]]
    )
    vocabulary: dict[str, list[str]] = msgspec.field(default_factory=dict[str, list[str]])
    buckets: int = 0
    clients: int | None = None
    partition: PartitionName = "auto"
    feature_skew: Literal["none", "affine", "rotation", "noise"] = "none"
    feature_strength: float = 0.3
    spread: float = 2.0
    alpha: float = 0.5
    shards_per_client: int = 2
    split: SplitName = "row"
    test_fraction: float = 0.2
    test_from: str = ""
    split_seed: int = 0
