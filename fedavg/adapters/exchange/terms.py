"""What nodes and server agree on before a run: which records are summed, in which ranges, and by which sum.

The terms are public.  They stand in the agreement that every node holds in a file of its own, so that a
server cannot change them (`fedavg.adapters.exchange.agreement`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal, cast, get_args

from dp.checks import is_a
from fedavg import checks
from fedavg.adapters.exchange.keys.ages import KeyAges
from fedavg.errors import CapacityError, PlanError
from fedavg.parts.registry import family_of

if TYPE_CHECKING:
    from fedavg.encoding.fixed_point import Encoding
    from fedavg.privacy.noise import Noise
    from fedavg.sums.masked import SecAgg
    from fedavg.sums.one_shot import OneShot

__all__ = ["Record", "Terms"]

Beyond = Literal["refuse", "clip"]
_STATE = (
    "Until a node has masked its record, its folder holds the record, sealed under the node's key: nobody "
    "reads both files, and neither the folder's journal nor its state is restored from a copy."
)
_CLOCK = (
    "The clocks of the nodes are right within {eighth} days: a node seals to no key that a member made more "
    "than {days} days ago. A server that keeps a node from rounds may until then give it a key that is over."
)
_DAY = 86400.0
_FEWEST_DAYS = 0.01
_SIZES = 4096  # of rounds that are tried
_SMALLEST, _LARGEST = 1e-30, 1e30
"""Ranges beyond these overflow: the factors of smaller ones float64, the means of larger ones float32."""


@dataclass(frozen=True, slots=True)
class Record:
    """What one kind of record carries into a sum, such as the reply to a request for training.

    Every value has a public range.  A node weighs each value by its share w ÷ `max_weight`, encodes it, and
    sends it into the sum together with w; the server learns the weighted mean and the total weight.

    Args:
        encoding: how reals become integers; its `clip` is the range of a coordinate of an array. It must
            treat each coordinate alone: no rotation, and no bound on the norm of the whole vector.
        arrays: names of arrays that are summed, or patterns of names such as "head.*"; others stay at the
            node. () for a record without arrays.
        relative: whether the difference to the server's arrays is summed, and not the arrays themselves.
        ranges: name of an array, or pattern of names, to a range other than `encoding.clip`. The name itself
            counts first, then the first pattern that fits. Counters, such as those of batch normalisation,
            need a wider range than weights.
        metrics: name of a metric to its range. Metrics that are not listed stay at the node.
        noise: noise for differential privacy, of which every node adds its share: `DistributedGaussian` or
            another distributed noise, or `CentralGaussian`, which the server adds. The protected unit is all
            that one node holds. `encoding.clip` then bounds the Euclidean norm of all values together, each
            times clip ÷ range; the nodes weigh the same; and `beyond` is "clip".
        beyond: what a node does with a value beyond its range: "refuse" refuses the record and names the
            array or metric at the node, which then sends weight 0 (`Contribution.send_nothing`); "clip" moves
            the value to the end of the range, or under noise shortens the whole vector to the clip norm.

    Raises:
        PlanError: a range is not within 1e-30 … 1e30, the encoding mixes coordinates or does not fit the
            noise, the record carries nothing, or a value has another type.

    Example:
        >>> from fedavg import FixedPoint
        >>> record = Record(FixedPoint(1.0, 20, rounding="nearest"), ranges={"*.num_batches_tracked": 1e4})
        >>> record.range_of("conv.weight"), record.range_of("bn.num_batches_tracked")
        (1.0, 10000.0)
        >>> record.carries("conv.weight")
        True
    """

    encoding: Encoding
    arrays: tuple[str, ...] = ("*",)
    relative: bool = True
    ranges: Mapping[str, float] = field(default_factory=dict[str, float])
    metrics: Mapping[str, float] = field(default_factory=dict[str, float])
    beyond: Beyond = "refuse"
    noise: Noise | None = None

    def __post_init__(self) -> None:
        if not callable(getattr(self.encoding, "encode", None)):
            raise PlanError(
                f"encoding must be an encoding such as FixedPoint, not {self.encoding!r:.80}"
            )
        if self.noise is None:
            _check_coordinatewise(self.encoding)
        else:
            _check_private(self)
        _range("encoding.clip", self.encoding.clip)
        object.__setattr__(self, "arrays", _patterns("arrays", self.arrays))
        object.__setattr__(self, "ranges", _ranges("ranges", self.ranges))
        object.__setattr__(self, "metrics", _ranges("metrics", self.metrics))
        if type(self.relative) is not bool:
            raise PlanError(f"relative must be True or False, not {self.relative!r:.80}")
        if self.beyond not in get_args(Beyond):
            raise PlanError(f'beyond must be "refuse" or "clip", not {self.beyond!r:.80}')
        if not self.arrays and not self.metrics:
            raise PlanError("a record with neither arrays nor metrics carries nothing; name one")

    def carries(self, name: str) -> bool:
        """Whether an array of this name is summed."""
        # A name may hold characters of patterns, such as "layers[0].w", and still names itself.
        return name in self.arrays or any(fnmatchcase(name, pattern) for pattern in self.arrays)

    def range_of(self, name: str) -> float:
        """The range of the coordinates of an array."""
        if name in self.ranges:
            return self.ranges[name]
        fitting = (at for pattern, at in self.ranges.items() if fnmatchcase(name, pattern))
        return next(fitting, self.encoding.clip)


@dataclass(frozen=True, slots=True)
class Terms:
    """Everything but people that nodes and server agree on.

    Args:
        sum: the secure sum: a `OneShot` whose keys a committee of the nodes adds, or a `SecAgg`, whose
            clients are put away as files between two messages. The `epoch_rounds` of a `OneShot` counts the
            sums that a member's sealing key serves, of all kinds together.
        records: kind of a record to what it carries. A node refuses requests of other kinds.
        max_weight: largest weight of a node, such as its number of examples; public.
        weight: name of the metric that is the weight.
        min_cohort: smallest number of nodes that a round may ask.
        attempts: how often a node answers a kind of request for the same arrays of the server, in all runs
            together. It guards against accidents: rounds that are repeated give sums over different nodes,
            which can be subtracted. It does not guard against a server that lies, since a model that differs
            in the last digit of one parameter is another model. Records with noise have no such limit: each
            answer is charged to the node's ledger.
        max_rounds: how often a node answers a kind of request under this agreement, in all runs together; a
            bound on the number of sums that no choice of models evades.
        delta: δ at which the server states the epsilons of records with noise; a node's ledger has its own.
        key_days: age in days at which nodes refuse a member's sealing key, by their own clocks. A member
            renews its key at half of this age, if it has not served its sums before. The parties' clocks may
            differ by an eighth of it, and a key that is dated further ahead counts for none.

    Raises:
        PlanError: no such sum is possible here, or a value has another type or range.
        CapacityError: `max_weight` does not fit the integers of an encoding.

    Example:
        >>> from fedavg import FixedPoint, OneShot
        >>> terms = Terms(
        ...     OneShot(committee=6, corrupt_members=1, absent_members=1),
        ...     {"train": Record(FixedPoint(1.0, 20, rounding="nearest"), metrics={"loss": 50.0})},
        ...     max_weight=10_000,
        ... )
        >>> terms.min_cohort, terms.record("evaluate")
        Traceback (most recent call last):
        fedavg.errors.PlanError: the agreement has no record 'evaluate': it sums 'train' only
    """

    sum: OneShot | SecAgg
    records: Mapping[str, Record]
    max_weight: int
    weight: str = "num-examples"
    min_cohort: int = 3
    attempts: int = 3
    max_rounds: int = 10_000
    delta: float = 1e-5
    key_days: float = 7.0

    def __post_init__(self) -> None:
        _check_sum(self.sum)
        object.__setattr__(self, "records", _records(self.records))
        floors = {"max_weight": 1, "min_cohort": 3, "attempts": 1, "max_rounds": 1}
        for name, floor in floors.items():
            object.__setattr__(self, name, checks.plan.whole(name, getattr(self, name), floor))
        _text("weight", self.weight)
        object.__setattr__(self, "key_days", checks.plan.positive("key_days", self.key_days))
        if self.key_days < _FEWEST_DAYS:
            raise PlanError(
                f"key_days must be at least {_FEWEST_DAYS}, not {self.key_days:g}: the clocks of the nodes "
                "may differ by an eighth of it, and a sum must end within a quarter of it"
            )
        object.__setattr__(self, "delta", checks.plan.proper_fraction("delta", self.delta))
        needed = max(
            self.sum.smallest_cohort(),
            *(_floor(self.sum, record) for record in self.records.values()),
        )
        if self.min_cohort < needed:
            object.__setattr__(self, "min_cohort", needed)
        for kind, record in self.records.items():
            if self.weight in record.metrics:
                raise PlanError(
                    f"record {kind!r} lists {self.weight!r} as a metric, but it is the weight: take it out"
                )
            # The weight is one more coordinate, so it must fit the same integers; under noise there is none.
            if record.noise is None and self.max_weight > record.encoding.max_abs(1):
                raise CapacityError(
                    f"max_weight={self.max_weight} does not fit the {record.encoding.bits} bits of record "
                    f"{kind!r}; take bits={self.max_weight.bit_length() + 1} or a smaller unit of weight"
                )

    @property
    def suspends(self) -> bool:
        """Whether nodes are put away between two messages: they finish sums that have no committee."""
        return not self.sum.committee

    @property
    def assumptions_here(self) -> tuple[str, ...]:
        """Assumptions beside those of the sum: what a node's folder holds, and what its clock is for."""
        if self.suspends:
            return (_STATE,)
        return (_CLOCK.format(days=f"{self.key_days:g}", eighth=f"{self.key_days / 8:.2g}"),)

    @property
    def key_ages(self) -> KeyAges:
        """At which ages a member's sealing key is renewed, passed on, and refused."""
        return KeyAges(_DAY * self.key_days)

    def record(self, kind: str) -> Record:
        """What a kind of record carries.

        Raises:
            PlanError: the agreement has no such kind.
        """
        if kind not in self.records:
            raise PlanError(
                f"the agreement has no record {kind!r}: it sums {', '.join(map(repr, self.records))} only"
            )
        return self.records[kind]


def _check_sum(given: object) -> None:
    """Refuse sums of which a party keeps secrets in memory between two messages."""
    # A sum that says nothing of it is refused.
    if getattr(given, "survives_processes", False) is not True:
        raise PlanError(
            f"{type(given).__name__} cannot be used here: engines such as Flower start a process for every "
            "message, and a party of this sum would have to hold keys in memory between two messages; use "
            "OneShot with keys='committee', whose clients send one message, or SecAgg, whose clients are "
            "sealed in a file between messages"
        )


def _check_coordinatewise(encoding: Encoding) -> None:
    """Refuse encodings in which a coordinate has no range of its own."""
    if encoding.rotate:
        raise PlanError(
            "an encoding with rotate=True mixes coordinates, and a record has a weight, metrics and arrays "
            "with ranges of their own: use rotate=False"
        )
    if encoding.bounded:
        raise PlanError(
            "this encoding bounds the norm of the whole vector, and a record has a range for each "
            "coordinate: use FixedPoint with rounding='nearest', or Quantised"
        )


def _check_private(record: Record) -> None:
    """Refuse what does not go with noise."""
    if family_of(record.noise) != "noise":
        raise PlanError(
            f"noise must be a noise such as DistributedGaussian(2.0), not {record.noise!r:.80}"
        )
    if not record.encoding.bounded:
        raise PlanError(
            "noise is sized by a bound on the norm of the whole vector, which this encoding has not: use "
            "FixedPoint(clip, bits) with rounding='stochastic', whose clip is the clip norm"
        )
    if record.beyond != "clip":
        raise PlanError(
            "under noise a node shortens each vector to the clip norm, and refuses none: say beyond='clip'"
        )


def _floor(chosen: OneShot | SecAgg, record: Record) -> int:
    """The smallest round in which, under noise, an honest node's noise hides another honest node."""
    if record.noise is None or not record.noise.distributed:
        return 0
    sizes = range(3, _SIZES)
    enough = (n for n in sizes if chosen.min_survivors(n) - chosen.colluders(n) >= 2)
    found = next(enough, None)
    if found is None:
        raise PlanError(
            "with so many drop-outs and colluders no node is left whose noise hides another: lower "
            "dropout_rate or corrupt_rate of the sum"
        )
    return found


def _records(given: object) -> dict[str, Record]:
    if not isinstance(given, Mapping) or not given:
        raise PlanError("records must map kinds such as 'train' to a Record each, at least one")
    found = cast("Mapping[object, object]", given)
    out: dict[str, Record] = {}
    for kind, record in found.items():
        if not is_a(record, Record):
            raise PlanError(f"records[{kind!r}] must be a Record, not {type(record).__name__}")
        out[_text("a kind of record", kind)] = cast("Record", record)
    return out


def _patterns(name: str, given: object) -> tuple[str, ...]:
    if type(given) not in (tuple, list):
        raise PlanError(f"{name} must be a tuple of patterns, not {given!r:.80}")
    return tuple(_text(f"a pattern of {name}", pattern) for pattern in cast("tuple[object]", given))


def _ranges(name: str, given: object) -> dict[str, float]:
    if not isinstance(given, Mapping):
        raise PlanError(f"{name} must map names to ranges, not be {given!r:.80}")
    return {
        _text(f"a name in {name}", key): _range(f"{name}[{key!r}]", value)
        for key, value in cast("Mapping[object, object]", given).items()
    }


def _range(name: str, given: object) -> float:
    found = checks.plan.positive(name, given)
    if not _SMALLEST <= found <= _LARGEST:
        raise PlanError(
            f"{name} must lie within {_SMALLEST:g} … {_LARGEST:g}, not {found:g}: beyond, floating-point "
            "numbers overflow; choose a larger or smaller unit"
        )
    return found


def _text(name: str, given: object) -> str:
    if type(given) is not str or not given:
        raise PlanError(f"{name} must be a non-empty text, not {given!r:.80}")
    # A node's operator reads the agreement in a terminal, where such a sign could hide a line of it.
    if not given.isprintable():
        raise PlanError(f"{name} must be printable, without control characters: {given!r:.80}")
    return given
