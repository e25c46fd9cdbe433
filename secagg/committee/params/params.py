"""Parameters of a sum by a committee, derived from numbers of members; impossible ones are refused."""

from __future__ import annotations

import functools
import math
import struct
from dataclasses import dataclass, fields
from fractions import Fraction
from typing import TYPE_CHECKING

from secagg.crypto.ring import packed_size
from secagg.crypto.sealed import TAG_SIZE
from secagg.errors import CapacityError, UnsafeParametersError, WireFormatError
from secagg.guards.checks import octets, whole
from secagg.params.params import MAX_CLIENTS

if TYPE_CHECKING:
    from secagg.errors import SecAggError

__all__ = ["MAX_MEMBERS", "SMALLEST_SUM", "CommitteeParams", "drawn_corrupt"]

MAX_MEMBERS = 1000
MAX_LENGTH = 1 << 20
SMALLEST_SUM = 3
"""Of two inputs, each party learns the other's from the sum."""
MAX_SUM = 1 << 62
MOST_BITS = 21
"""Largest size of a prime: float64 then adds 2^11 products exactly."""
_FEWEST_BITS = 12  # of a prime: more than twice the members, so that all points are distinct
_CHECK_BITS = 104
"""40 bits against a dealer that tries 2^64 contributions."""
CONTRIBUTION_HEAD = 172
"""Bytes of a contribution before its envelopes; see docs/protocol.md."""
_LAYOUT = struct.Struct("<IIIIIIIQII")


@dataclass(frozen=True, slots=True)
class CommitteeParams:
    """The numbers that all parties of a sum by a committee agree on; part of the session's name.

    Use `for_committee`. A vector is cut into blocks of k coordinates. Each block becomes the values of one
    polynomial of degree below R = t + k, of which every member holds one value (packed Shamir sharing).

    Args:
        n_members: m, number of members, at most 1000.
        corrupt: c, number of members that may collude with the server, with clients and with each other.
        absent: number of members, corrupt or not, without which there is a sum. Members that are left out
            over disputes are among them, and c + 1 lying clients can have c honest ones left out.
        corrected: number of false answers that are corrected while `absent` members are missing.
        threshold: t; the shares of t members say nothing about an input.
        vector_length: number of coordinates of each input.
        max_clients: largest number of inputs in a sum.
        max_abs: bound on each coordinate of an input.
        min_clients: smallest number of inputs in a sum, at least 3 and at least corrupt_clients + 2.
        corrupt_clients: number of clients that may collude with the server. It chooses whose inputs are
            added, so it may put all of them into a sum: two honest ones must be left.

    Raises:
        UnsafeParametersError: no sum would be safe, or none possible; the message has the numbers.
        CapacityError: the vector is too long, or sums are too large.
        LocalProtocolError: an argument is no integer.

    Example:
        >>> params = CommitteeParams.for_committee(
        ...     50, corrupt=5, absent=10, vector_length=4096, max_clients=1000, max_abs=21, min_clients=900
        ... )
        >>> params.threshold, params.packing, params.rebuild, params.quorum, params.moduli
        (25, 10, 35, 28, (65521,))
    """

    n_members: int
    corrupt: int
    absent: int
    corrected: int
    threshold: int
    vector_length: int
    max_clients: int
    max_abs: int
    min_clients: int
    corrupt_clients: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, whole(field.name, getattr(self, field.name)))
        self._check_sums()
        self._check_committee()

    @classmethod
    def for_committee(
        cls,
        n_members: int,
        *,
        corrupt: int,
        absent: int,
        vector_length: int,
        max_clients: int,
        max_abs: int,
        min_clients: int,
        corrected: int = 0,
        threshold: int | None = None,
        corrupt_clients: int = 1,
    ) -> CommitteeParams:
        """Derive the parameters of a committee.

        The threshold is max(⌈m/2⌉, c) unless it is given. Secrecy needs t ≥ c alone. What is above c is a
        margin: so many members' keys may be stolen besides, before an input is readable.

        Args:
            n_members: m.
            corrupt: c; for a committee that is drawn from a larger group, see `drawn_corrupt`.
            absent: see the class, as for all other arguments.
            vector_length: number of coordinates.
            max_clients: largest number of inputs.
            max_abs: bound on each coordinate.
            min_clients: smallest number of inputs.
            corrected: false answers to correct while all of `absent` are missing.
            threshold: t, if the margin is to be another.
            corrupt_clients: clients that may collude with the server.

        Raises:
            UnsafeParametersError, CapacityError, LocalProtocolError: see the class.

        Example:
            >>> CommitteeParams.for_committee(
            ...     5, corrupt=1, absent=2, vector_length=8, max_clients=9, max_abs=1, min_clients=3
            ... )  # doctest: +ELLIPSIS
            Traceback (most recent call last):
            secagg.errors.UnsafeParametersError: a committee of 5 with 1 corrupt needs 4 signatures ...
        """
        members, colluding = whole("n_members", n_members), whole("corrupt", corrupt)
        margin = max(-(-members // 2), colluding)
        return cls(
            members,
            colluding,
            absent,
            corrected,
            margin if threshold is None else threshold,
            vector_length,
            max_clients,
            max_abs,
            min_clients,
            corrupt_clients,
        )

    def _check_sums(self) -> None:
        _within("vector_length", self.vector_length, 1, MAX_LENGTH, CapacityError)
        _within("max_abs", self.max_abs, 1, MAX_SUM, CapacityError)
        _within("max_clients", self.max_clients, SMALLEST_SUM, MAX_CLIENTS)
        _within("min_clients", self.min_clients, SMALLEST_SUM, self.max_clients)
        _within("corrupt_clients", self.corrupt_clients, 0, self.max_clients)
        if self.min_clients < self.corrupt_clients + 2:
            raise UnsafeParametersError(
                f"of {self.min_clients} inputs {self.corrupt_clients} may be known to the server, which "
                f"chooses the sum; ask for min_clients={self.corrupt_clients + 2} or more, so that two "
                "honest ones are in it"
            )
        if self.max_clients * self.max_abs > MAX_SUM:
            raise CapacityError(
                f"sums of {self.max_clients} inputs within ±{self.max_abs} pass 2^62; use smaller inputs"
            )

    def _check_committee(self) -> None:
        m, c = self.n_members, self.corrupt
        _within("n_members", m, 1, MAX_MEMBERS)
        _within("corrupt", c, 0, m - 1)
        _within("absent", self.absent, 0, m - 1)
        _within("corrected", self.corrected, 0, c)
        _within("threshold", self.threshold, max(1, c), m)
        if m - self.absent < self.quorum:
            raise UnsafeParametersError(
                f"a committee of {m} with {c} corrupt needs {self.quorum} signatures on one set, and "
                f"without {self.absent} absent ones it has {m - self.absent}; allow at most "
                f"absent={m - self.quorum}"
            )
        if self._room < 1:
            raise UnsafeParametersError(
                f"{m} members without {self.absent} absent ones, {c} corrupt and {self.corrected} corrected "
                f"leave {m - self.absent - c - self.corrected} to rebuild a sum, and threshold "
                f"{self.threshold} takes at least {self.threshold + 1}; lower one of them by "
                f"{1 - self._room} or take a larger committee"
            )

    @property
    def _room(self) -> int:
        return self.n_members - self.absent - self.corrupt - self.corrected - self.threshold

    @property
    def packing(self) -> int:
        """k, coordinates in one block."""
        return min(self._room, self.vector_length)

    @property
    def rebuild(self) -> int:
        """R = t + k, answers that determine a sum."""
        return self.threshold + self.packing

    @property
    def quorum(self) -> int:
        """⌊(m + c)/2⌋ + 1 signatures: two such sets of members have an honest one in common."""
        return (self.n_members + self.corrupt) // 2 + 1

    @property
    def moduli(self) -> tuple[int, ...]:
        """Primes whose product is above twice the largest sum."""
        return _moduli(2 * self.max_clients * self.max_abs)

    @property
    def bits(self) -> int:
        """Bits of a residue on the wire."""
        return self.moduli[0].bit_length()

    @property
    def blocks(self) -> int:
        """Blocks of a vector."""
        return -(-self.vector_length // self.packing)

    @property
    def checks(self) -> int:
        """Check values of a share, for each prime.

        Wrong shares pass them all, for every choice of honest members that liars leave in, with probability
        at most 2^−104: docs/protocol.md, "What check values prove".
        """
        return -(-(_CHECK_BITS + _choices(self.n_members, self.corrupt)) // (self.bits - 1))

    @property
    def residues(self) -> int:
        """Residues of a share on the wire; a multiple of eight, so that shares are packed many at a time."""
        return -(-len(self.moduli) * (self.blocks + self.checks) // 8) * 8

    @property
    def share_size(self) -> int:
        """Bytes of one member's share of a vector."""
        return packed_size(self.residues, self.bits)

    @property
    def envelope_size(self) -> int:
        """Bytes of a sealed share."""
        return self.share_size + TAG_SIZE

    @property
    def contribution_size(self) -> int:
        """Bytes of a client's message."""
        return CONTRIBUTION_HEAD + self.n_members * self.envelope_size

    def radius(self, answers: int) -> int | None:
        """False ones that can be corrected among some members' values, if at most c are false.

        None if there are too few: with fewer than R + c values, c liars could make a sum that nobody can
        tell from the right one.

        Example:
            >>> params = CommitteeParams.for_committee(
            ...     9, corrupt=1, absent=2, vector_length=4, max_clients=9, max_abs=1, min_clients=3
            ... )
            >>> [params.radius(answers) for answers in (9, 8, 7, 6)]
            [1, 1, 0, None]
        """
        spare = whole("answers", answers) - self.rebuild - self.corrupt
        return None if spare < 0 else min(self.corrupt, spare)

    def to_bytes(self) -> bytes:
        """The one encoding, 44 bytes."""
        return _LAYOUT.pack(*(getattr(self, field.name) for field in fields(self)))

    @classmethod
    def from_bytes(cls, data: bytes) -> CommitteeParams:
        """Decode, and check as the constructor does.

        Raises:
            WireFormatError: there are not 44 bytes.
            UnsafeParametersError, CapacityError: as from the constructor.
        """
        data = octets("data", data)
        if len(data) != _LAYOUT.size:
            raise WireFormatError(f"parameters take {_LAYOUT.size} bytes, not {len(data)}")
        return cls(*_LAYOUT.unpack(data))


def _within(
    name: str,
    value: int,
    low: int,
    high: int,
    error: type[SecAggError] = UnsafeParametersError,
) -> None:
    if not low <= value <= high:
        raise error(f"{name} must lie in {low}…{high}, not {value}")


@functools.cache
def largest_primes(bits: int, count: int) -> tuple[int, ...]:
    """The largest primes below 2^bits, descending.

    Example:
        >>> largest_primes(16, 2)
        (65521, 65519)
    """
    found: list[int] = []
    candidate = (1 << bits) - 1
    while len(found) < count:
        if all(candidate % divisor for divisor in range(3, 1 << (bits + 1) // 2, 2)):
            found.append(candidate)
        candidate -= 2  # both it and its divisors are odd
    return tuple(found)


@functools.lru_cache(maxsize=64)
def _moduli(span: int) -> tuple[int, ...]:
    """The fewest and then smallest primes of one size with a product above `span`."""
    for count in range(1, 1 + -(-span.bit_length() // (MOST_BITS - 1))):
        # The product is below 2^(count · bits): smaller primes need not be found, which takes milliseconds.
        fewest = max(_FEWEST_BITS, -(-span.bit_length() // count))
        for bits in range(fewest, MOST_BITS + 1):
            primes = largest_primes(bits, count)
            if math.prod(primes) > span:
                return primes
    raise CapacityError(f"no primes hold sums of {span.bit_length()} bits")


@functools.lru_cache(maxsize=64)
def _choices(members: int, most: int) -> int:
    """Bits of the number of sets of at most so many members."""
    return sum(math.comb(members, size) for size in range(most + 1)).bit_length()


def drawn_corrupt(
    directory_size: int,
    corrupt_in_directory: int,
    n_members: int,
    *,
    security_bits: int = 40,
    grinding_bits: int = 0,
) -> int:
    """The number of corrupt members to allow for in a committee that is drawn at random.

    The exact hypergeometric tail: more are drawn with probability at most 2^−(security + grinding). Count
    2^grinding for draws that the server can try, where it chooses anything that the draw depends on.

    Args:
        directory_size: number of candidates.
        corrupt_in_directory: number of corrupt ones among them.
        n_members: number of members drawn.
        security_bits: σ.
        grinding_bits: log2 of the tries.

    Raises:
        UnsafeParametersError: more are drawn or corrupt than there are.
        LocalProtocolError: an argument is no integer.

    Example:
        >>> drawn_corrupt(1000, 100, 50, security_bits=41)
        24
        >>> drawn_corrupt(1000, 100, 50, security_bits=41, grinding_bits=64)
        38
    """
    total, bad = (
        whole("directory_size", directory_size),
        whole("corrupt_in_directory", corrupt_in_directory),
    )
    drawn = whole("n_members", n_members)
    bits = whole("security_bits", security_bits) + whole("grinding_bits", grinding_bits)
    _within("directory_size", total, 1, 1 << 20)
    _within("corrupt_in_directory", bad, 0, total)
    _within("n_members", drawn, 1, min(total, MAX_MEMBERS))
    _within("security_bits + grinding_bits", bits, 1, 1024)
    allowed, ways, rare = min(bad, drawn), 0, Fraction(math.comb(total, drawn), 1 << bits)
    while allowed > 0:
        ways += math.comb(bad, allowed) * math.comb(total - bad, drawn - allowed)
        if ways > rare:
            break
        allowed -= 1
    return allowed
