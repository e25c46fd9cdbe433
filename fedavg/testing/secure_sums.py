"""The contract of a secure sum: its integers equal those of the plain sum, for any set of drop-outs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fedavg.errors import FedAvgError, PlanError
from fedavg.sums.interface import SumSpec, centred
from fedavg.sums.sides.others import other_parties
from fedavg.testing.parts import check_travels, require
from he import HeError
from secagg import Identity, SecAggError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fedavg.sums.interface import ClientSession, SecureSum, SumResult

__all__ = ["REFUSALS", "SecureSumContract", "play", "spec_for"]

REFUSALS = (FedAvgError, SecAggError, HeError)
"""Errors that a secure sum may raise for a round that cannot be summed."""

_CONTEXT = b"contract suite, one round......"
_IDENTITIES: list[Identity] = []


def spec_for(
    vectors: Mapping[int, NDArray[np.int64]],
    *,
    max_abs: int | None = None,
    ring_bits: int | None = None,
) -> SumSpec:
    """The specification of a sum of these vectors: exact within ±max_abs, or modulo 2^ring_bits."""
    length = len(next(iter(vectors.values())))
    return SumSpec(length, max_abs, ring_bits, len(vectors), _CONTEXT)


def play(
    secure_sum: SecureSum,
    vectors: Mapping[int, NDArray[np.int64]],
    spec: SumSpec,
    *,
    silent_from: Mapping[int, int] | None = None,
    record: list[tuple[int, bytes, bool]] | None = None,
) -> SumResult:
    """Run all roles of one sum; they exchange bytes only.

    Args:
        secure_sum: any secure sum.
        vectors: client id to int64[d].
        spec: see `spec_for`.
        silent_from: client id to the number, from 0, of the first message that it does not answer.
        record: filled with (sender, message, whether the server was collecting vectors).
    """
    # Making keys is slow, so the tests share some identities.
    while len(_IDENTITIES) < min(64, len(vectors)):
        _IDENTITIES.append(Identity.generate())
    names = {client: _IDENTITIES[k % len(_IDENTITIES)] for k, client in enumerate(vectors)}
    directory = {client: identity.public for client, identity in names.items()}
    provision = secure_sum.provision(spec, directory)
    side = secure_sum.client_side(provision.clients)
    server = secure_sum.server_side(provision.server).session(spec, sorted(vectors))
    others = other_parties(secure_sum, provision, spec)
    sessions: dict[int, ClientSession] = {}
    answered, silent = dict.fromkeys(vectors, 0), silent_from or {}
    outgoing: Mapping[int, Sequence[bytes]] = server.open()
    while outgoing:
        for party, messages in outgoing.items():
            replies: Sequence[bytes]
            if party in others:
                replies = others[party].receive(messages)
            # A silent client answers no further message; without an entry it always answers.
            elif answered[party] >= silent.get(party, len(messages) + 10**6):
                continue
            else:
                answered[party] += 1
                if party in sessions:
                    replies = [r for told in messages for r in sessions[party].receive(told)]
                else:
                    sessions[party] = side.session(spec, party, names[party], messages[0])
                    sessions[party].set_input(vectors[party])
                    replies = sessions[party].start()
            for reply in replies:
                if record is not None:
                    record.append((party, reply, server.collecting))
                server.receive(party, reply)
        outgoing = server.advance()
    return server.result()


def _vectors(n: int, length: int, bound: int, seed: int) -> dict[int, NDArray[np.int64]]:
    # Ids with gaps show whether a sum confuses ids with positions.
    public = np.random.default_rng(seed)  # noqa: TID251 - test data from a public seed
    return {3 * i + 1: public.integers(-bound, bound + 1, length) for i in range(n)}


def _total(vectors: Mapping[int, NDArray[np.int64]], who: Sequence[int]) -> NDArray[np.int64]:
    return np.sum([vectors[client] for client in who], axis=0)


class SecureSumContract:
    """Tests of a secure sum: inherit it, and let `part` return your secure sum.

    The suite checks sums, sizes, refusals and the statements of the sum about itself.  It cannot show that a
    sum hides updates: that needs an argument about the protocol, and attacks.

    Example:
        >>> from fedavg import InsecurePlain
        >>> class Boaster(InsecurePlain, frozen=True, tag="boaster-example"):
        ...     hides_updates = True
        >>> class TestBoaster(SecureSumContract):
        ...     def part(self):
        ...         return Boaster()
        >>> TestBoaster().test_sums_are_exact()
        >>> TestBoaster().test_what_it_says_of_itself()
        Traceback (most recent call last):
        AssertionError: hides_updates is True; 5 uploads are clear
    """

    cohorts: tuple[int, ...] = (5, 9, 16)
    """Sizes of the rosters; each is raised to the sum's smallest cohort."""

    def part(self) -> SecureSum:
        """Return the sum to test."""
        raise PlanError("secure sum suite: define part(self), which returns the secure sum to test")

    def _rosters(self) -> list[int]:
        least = self.part().smallest_cohort()
        return sorted({max(n, least) for n in self.cohorts})

    def test_it_travels_in_a_plan(self) -> None:
        """A plan with the sum has a digest and can be rebuilt in another process."""
        check_travels("secure_sum", self.part())

    def test_sums_are_exact(self) -> None:
        """Check lengths around powers of two, several cohorts, and vectors at the bound."""
        for n in self._rosters():
            # Lengths next to powers of two show errors of packing and padding.
            for length in (1, 2, 3, 255, 257):
                vectors = _vectors(n, length, 2**19 - 1, length)
                vectors[1][:] = 2**19 - 1
                found = play(self.part(), vectors, spec_for(vectors, max_abs=2**19 - 1))
                expected = _total(vectors, list(vectors))
                same = np.array_equal(found.total, expected) and found.total.dtype == np.int64
                require(same, f"the sum of {n} vectors of length {length} is not exact")
                everyone = found.survivors == tuple(sorted(vectors))
                require(everyone, "a client that answered is missing from the survivors")

    def test_sums_reduce_modulo_a_power_of_two(self) -> None:
        """Under differential privacy nothing overflows: sums are reduced modulo 2^b and centred."""
        for bits in (2, 17, 31):
            vectors = _vectors(self._rosters()[0], 65, 2**40, bits)
            found = play(self.part(), vectors, spec_for(vectors, ring_bits=bits))
            expected = centred(_total(vectors, list(vectors)), bits)
            require(np.array_equal(found.total, expected), f"the sum modulo 2^{bits} differs")

    def test_silent_clients_leave_the_sum_of_the_others(self) -> None:
        """The sum tolerates the promised number of drop-outs."""
        secure_sum, n = self.part(), self._rosters()[-1]
        vectors = _vectors(n, 50, 1000, 1)
        # As many drop out as the sum itself promises to tolerate.
        gone = sorted(vectors)[
            : n - max(secure_sum.min_survivors(n), n - int(n * secure_sum.dropout_rate))
        ]
        spec = spec_for(vectors, max_abs=1000)
        found = play(secure_sum, vectors, spec, silent_from=dict.fromkeys(gone, 0))
        left = [client for client in sorted(vectors) if client not in gone]
        require(
            list(found.survivors) == left, f"{len(gone)} of {n} dropped out, as the sum tolerates"
        )
        require(np.array_equal(found.total, _total(vectors, left)), "the others' sum is not exact")

    def test_too_few_survivors_give_no_sum(self) -> None:
        """With fewer than `min_survivors` the server gets no sum."""
        secure_sum, n = self.part(), self._rosters()[-1]
        least = secure_sum.min_survivors(n)
        if least < 1:
            return
        vectors = _vectors(n, 5, 10, 2)
        silent = dict.fromkeys(sorted(vectors)[: n - least + 1], 0)
        try:
            play(secure_sum, vectors, spec_for(vectors, max_abs=10), silent_from=silent)
        except REFUSALS:
            return
        raise AssertionError(f"{least - 1} survivors of {n} gave a sum; {least} are the fewest")

    def test_an_input_beyond_the_bound_is_refused(self) -> None:
        """The client refuses it, before it sends anything."""
        vectors = _vectors(self._rosters()[0], 5, 10, 3)
        vectors[1][2] = 11
        try:
            play(self.part(), vectors, spec_for(vectors, max_abs=10))
        except REFUSALS:
            return
        raise AssertionError("a coordinate of 11 was accepted although the bound is 10")

    def test_the_server_says_when_vectors_leave(self) -> None:
        """`collecting` holds while uploads arrive, since it decides which updates count as sent."""
        record: list[tuple[int, bytes, bool]] = []
        vectors = _vectors(self._rosters()[0], 50, 1000, 4)
        play(self.part(), vectors, spec_for(vectors, max_abs=1000), record=record)
        senders = {party for party, _, collecting in record if collecting}
        require(
            senders == set(vectors), f"vectors of {sorted(senders)} were sent, and all were summed"
        )

    def test_what_it_says_of_itself(self) -> None:
        """`uploaded` shows a client's own numbers if and only if `hides_updates` is False."""
        secure_sum, record = self.part(), list[tuple[int, bytes, bool]]()
        vectors = _vectors(self._rosters()[0], 200, 10**6, 5)
        spec = spec_for(vectors, max_abs=10**6)
        play(secure_sum, vectors, spec, record=record)
        shown: dict[int, NDArray[np.int64] | NDArray[np.uint64]] = {}
        for party, message, _ in record:
            require(bool(secure_sum.describe(message)), "a message has no name")
            numbers = secure_sum.uploaded(message) if party in vectors else None
            if numbers is not None:
                shown[party] = numbers
        require(shown.keys() == vectors.keys(), "`uploaded` recognises no upload of some client")
        clear = sum(
            # More than half of the numbers cannot be equal by chance.
            np.isin(vectors[client], shown[client].astype(np.int64)).mean() > 0.5
            for client in shown
        )
        hidden = secure_sum.hides_updates
        require(
            clear == 0 if hidden else clear > 0,
            f"hides_updates is {hidden}; {clear} uploads are clear",
        )
        require(secure_sum.received(spec).endswith("."), "`received` is a sentence")
        require(
            all(line.endswith(".") for line in secure_sum.assumptions(spec)),
            "assumptions are sentences",
        )
