"""The corpus of the fuzzer and thousands of deterministic mutations of it, in the ordinary tests."""

from __future__ import annotations

import numpy as np
import pytest

from secagg import Phase
from secagg.wire import bodies, codec
from tests.fuzz import targets
from tests.fuzz.make_corpus import CORPUS, always
from tests.fuzz.stages import stages
from tests.fuzz.targets import NAMES, run, seed
from tests.hostile.mutants import without

FILES = sorted(CORPUS.iterdir())
SEEDS = [path.read_bytes() for path in FILES]
SMALL = [data for data in SEEDS if len(data) <= 4096]
LARGE = [data for data in SEEDS if len(data) > 4096]
BATCHES, CASES = 20, 1000
FRAME = 41  # the target's number and a message's header
EDGES = [0, 1, 2, 3, 127, 128, 255]
COUNTS = [0, 1, 5, 9_999, 10_000, 10_001, 2**28, 2**28 + 1, 2**31, 2**32 - 1]


def mutated(rng, data):
    """One to four changes: bits, bytes, lengths, ends, and parts of other seeds of the same target."""
    data = bytearray(data)
    if rng.random() < 0.25:
        data[0] = (
            data[0] + 1
        ) % 256  # after a role that checks signatures comes its credulous twin
    for _ in range(rng.integers(1, 5)):
        start = FRAME if rng.random() < 0.8 and len(data) > FRAME else 1
        if len(data) <= start:
            break
        at = int(rng.integers(start, len(data)))
        match rng.integers(7):
            case 0:
                data[at] ^= 1 << int(rng.integers(8))
            case 1:
                data[at] = EDGES[rng.integers(len(EDGES))]
            case 2:
                data[at : at + 4] = COUNTS[rng.integers(len(COUNTS))].to_bytes(4, "little")
            case 3:
                del data[at:]
            case 4:
                data += rng.bytes(int(rng.integers(1, 70)))
            case 5:
                size = int(rng.integers(1, 65))
                del data[at : at + size]
            case _:
                other = SMALL[rng.integers(len(SMALL))]
                to = int(rng.integers(len(other)))
                data[at:] = other[to:]
    return bytes(data)


def test_the_corpus_is_small_and_holds_whole_sessions():
    assert len(FILES) <= 200
    assert sum(map(len, SEEDS)) < 300_000
    assert not set(always()) - set(SEEDS)
    assert len(set(SEEDS)) == len(SEEDS)
    served = {NAMES[data[0] % len(NAMES)] for data in SEEDS}
    assert served >= {name for name in NAMES if "credulous" not in name}


@pytest.mark.parametrize("data", SEEDS, ids=[path.name[:8] for path in FILES])
def test_a_seed(data):
    run(data)


def test_every_prefix_of_the_shortest_seeds():
    shortest = {}
    for data in sorted(SMALL, key=len, reverse=True):
        shortest[data[0]] = data
    for data in shortest.values():
        for size in range(0, len(data), 1 + len(data) // 40):
            run(data[:size])


@pytest.mark.parametrize("batch", range(BATCHES))
def test_mutations(batch):
    """20,000 in all, the same in every run."""
    rng = np.random.default_rng(batch)
    for case in range(CASES):
        pool = LARGE if case % 50 == 0 else SMALL
        data = mutated(rng, pool[rng.integers(len(pool))])
        try:
            run(data)
        except Exception as error:
            raise AssertionError(f"found by {data.hex()}") from error


def all_mutations():
    for batch in range(BATCHES):
        test_mutations(batch)


# Mutants: what the targets would see -------------------------------------------------------------------


def test_mutant_a_decoder_that_ignores_padding(monkeypatch):
    def lax(data, count):
        flags = np.unpackbits(np.frombuffer(data, dtype=np.uint8), bitorder="little")
        return flags[:count].tobytes()

    monkeypatch.setattr(bodies, "_unpack_flags", lax)
    with pytest.raises(AssertionError, match="found by"):
        all_mutations()


def test_mutant_a_decoder_that_raises_something_else(monkeypatch):
    monkeypatch.setattr(bodies, "_exact", lambda body, size: None)
    with pytest.raises(AssertionError, match="found by"):
        all_mutations()


def test_mutant_a_server_that_changes_before_it_checks(monkeypatch):
    from secagg import Server

    accept = Server._accept

    def early(self, client_id, content):
        self._answers[client_id] = content
        accept(self, client_id, content)

    monkeypatch.setattr(Server, "_accept", early)
    stage = stages("five")
    said = stage.session.said[Phase.SHARE_KEYS][stage.missing]
    bad = seed("server five share_keys", said[:50] + bytes([said[50] ^ 1]) + said[51:])
    with pytest.raises(AssertionError, match="changed something"):
        run(bad)


def test_mutant_a_client_that_keeps_its_secrets(monkeypatch):
    from secagg import Client

    without(monkeypatch, Client, "_acting", "self._secrets = None", "pass")
    with pytest.raises(AssertionError, match="secrets stay"):
        run(seed("client five share_keys", b"SAGG"))


def test_mutant_readers_that_differ(monkeypatch):
    monkeypatch.setattr(codec, "MAGIC", b"sagg")
    with pytest.raises(AssertionError, match="readers differ"):
        run(next(data for data in always() if data[:5] == seed("message", b"SAGG")))


def test_the_targets_count_an_unexpected_error_as_a_finding(monkeypatch):
    def broken(data):
        raise KeyError("unexpected")

    monkeypatch.setattr(targets, "decode", broken)
    with pytest.raises(KeyError):
        run(seed("message", b""))
