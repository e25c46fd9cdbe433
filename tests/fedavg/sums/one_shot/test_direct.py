"""Short vectors under OneShot: shared without ciphertexts where that is shorter, by every party alike."""

from __future__ import annotations

import numpy as np
import pytest

import secagg
from fedavg.errors import LocalProtocolError
from fedavg.sums.interface import SumSpec
from fedavg.sums.once import sum_once
from fedavg.sums.one_shot import OneShot, direct
from fedavg.sums.one_shot.committee import CommitteeKeys
from he import onetime
from secagg import WireFormatError
from tests.fedavg.contract.sums import spec_for
from tests.fedavg.sums.one_shot.test_committee import SUMS, Play, vectors_of
from tests.hostile.mutants import FOUND, without


def numbers_for(sums, length, n=100, bound=2**15):
    spec = SumSpec(length, bound, None, n, b"a choice")
    return direct.numbers_of_vector(sums._uploads, sums._way.params, spec)


def sent_bytes(sums, length, *, shared):
    spec = SumSpec(length, 2**15, None, 100, b"a choice")
    if shared:
        return sums._way.params(spec).contribution_size
    keys = sums._way.params(sums.key_spec(spec))
    return keys.contribution_size + sums.params(spec).upload_bytes


def test_the_choice_follows_from_the_length_and_takes_the_shorter_one():
    lengths = range(1, 6000, 61)
    chosen = [numbers_for(OneShot(), length) is not None for length in lengths]
    assert chosen == sorted(chosen, reverse=True)  # short ones, and no others
    for length, shared in zip(lengths, chosen, strict=True):
        sizes = [sent_bytes(OneShot(), length, shared=way) for way in (True, False)]
        assert shared == (sizes[0] < sizes[1])


def says_what_is_sent():
    """The report names ciphertexts and the lattice where there are any, and shares where there are not."""
    short, long = (SumSpec(length, 2**15, None, 100, b"a choice") for length in (1800, 1866))
    masked = OneShot(keys="secagg")
    for sums, spec, shared in (
        (OneShot(), short, True),
        (OneShot(), long, False),
        (masked, short, False),
        (masked, long, False),
    ):
        said = " ".join(sums.assumptions(spec))
        assert ("sealed to one member" in sums.received(spec)) is shared
        assert ("ciphertext" in sums.received(spec)) is not shared
        assert ("Ring-LWE" in said) is not shared
        assert ("no proper ciphertext" in said) is not shared
    assert sums_up(OneShot(), short) < sums_up(OneShot(), long)


def sums_up(sums, spec):
    return len(sums.assumptions(spec))


def test_what_is_said_of_a_sum_is_what_is_sent_in_it():
    says_what_is_sent()


def test_mutant_that_says_the_same_of_all_lengths(monkeypatch):
    monkeypatch.setattr(CommitteeKeys, "shares", lambda *_: False)
    with pytest.raises(FOUND):
        says_what_is_sent()


def test_the_limit_that_the_page_names():
    """docs/he.md: 16-bit values of 100 clients, the members by default."""
    assert numbers_for(OneShot(), 1800) is not None
    assert all(numbers_for(OneShot(), length) is None for length in range(1866, 3000, 7))


def test_values_that_do_not_fit_one_prime_are_shared_over_two():
    vectors = {client: np.array([2**15 - 1, -(2**15), client]) for client in range(1, 65)}
    spec = spec_for(vectors, max_abs=2**15)
    found = direct.numbers_of_vector(SUMS._uploads, SUMS._way.params, spec)
    assert found is not None
    assert len(found.moduli) == 2
    total = sum_once(SUMS, vectors, max_abs=2**15, context=b"two primes").total
    assert np.array_equal(total, sum(vectors.values()))


def test_a_client_sends_one_short_message():
    vectors = vectors_of(length=40)
    play = Play(vectors)
    assert {len(messages) for messages in play.sent.values()} == {1}
    (message,) = play.sent[1]
    assert not onetime.is_upload(message)
    play.deliver()
    result = play.finished()
    assert play.stages == ["report", "sign", "answer"]
    assert np.array_equal(result.total, sum(vectors.values()))
    assert result.survivors == tuple(vectors)


def test_clients_that_send_nothing_are_missing_alone():
    vectors = vectors_of(length=40)
    play = Play(vectors)
    del play.sent[3]
    play.deliver()
    result = play.finished({"answer": (-2, -7)})
    assert result.survivors == (1, 2, 4, 5, 6, 7, 8, 9)
    assert np.array_equal(result.total, sum(vectors[i] for i in result.survivors))


def test_the_words_that_the_server_sees_are_sealed_shares():
    vectors = {client: np.zeros(400, np.int64) for client in range(1, 10)}
    (message,) = Play(vectors).sent[1]
    words = SUMS.uploaded(message)
    assert words is not None
    assert len(words) > 300
    # Zero inputs, and hardly a byte of the words is more frequent than chance: 12 standard deviations.
    counts = np.bincount(words.view(np.uint8), minlength=256)
    expected = words.size * 8 / 256
    assert abs(counts - expected).max() < 12 * expected**0.5


@pytest.mark.parametrize("message", [b"", b"ONE1" + bytes(32), b"SAGC" + bytes(200)])
def test_other_messages_carry_no_vector(message):
    assert direct.direct_words(message) is None


def attempt_with_a_key():
    """A client of a longer sum shares its key where a vector of the same length is due."""
    vectors = vectors_of(length=40)
    play = Play(vectors)
    numbers = play.server._sums.numbers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedavg.sums.one_shot.committee_sessions.NO_UPLOAD", bytes(32))
        other = Play(vectors).sent[1][0]
    assert direct.named_digest(other, numbers) == bytes(32)
    with pytest.raises(LocalProtocolError, match="client 1 shared a key of ciphertexts"):
        play.server.receive(1, other)


def test_v7_shares_that_belong_to_a_ciphertext_are_refused():
    attempt_with_a_key()


def test_v7_mutant_that_takes_any_digest(monkeypatch):
    check = "named_digest(message, self.numbers) != NO_UPLOAD"
    without(monkeypatch, direct.Shared, "receive", check)
    # The message is of another committee, so the collector refuses it in its own words.
    with pytest.raises(secagg.SecAggError):
        attempt_with_a_key()


def test_a_chunk_of_ciphertexts_is_refused():
    play, longer = Play(vectors_of(length=40)), Play(vectors_of())
    with pytest.raises(WireFormatError):
        play.server.receive(1, longer.sent[1][0])
