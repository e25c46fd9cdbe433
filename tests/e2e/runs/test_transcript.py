"""From all the bytes the server got in a run, no client's vector, weight, loss or norm can be read.

The same scanner finds them when the sum is in the clear, so the scanner works.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from fedavg.models.layout import Layout
from fedavg.protocol.messages import SumMessage, decode
from fedavg.protocol.transcript import Transcript, describe, uploaded_vector
from fedavg.sums.interface import is_client
from fedavg.training.evaluation import evaluate
from fedavg.training.job import TrainingJob
from fedavg.training.loop import local_update
from tests.e2e.scanner import contains_number, contains_vector
from tests.e2e.small import LENGTH, MODEL, SUMS, clients, federation


def run_recorded(name, n=20):
    population = clients(n)
    run = federation(SUMS[name], clients=population, transcript=Transcript())
    results = list(run.run(2))
    assert all(r.skipped is None for r in results)
    return run, population


def first_round_secrets(run, population):
    """Each client's float update, its encoding with the private weight, its norm and its loss."""
    model = MODEL.build()
    layout = Layout.of(model)
    start = layout.flatten(model)
    for client, data in population.items():
        update = local_update(
            TrainingJob(
                model,
                layout,
                start,
                data,
                run.plan.local_training,
                round_index=0,
                num_rounds=2,
                seed=client,
            )
        )
        encoded = run.plan.encoding.encode(update) * len(data)
        loss = evaluate(model, layout, start + update, data).loss
        yield client, update, np.append(encoded, len(data)), float(np.linalg.norm(update)), loss


def test_the_scanner_finds_every_client_in_a_plain_sum():
    run, population = run_recorded("insecure-plain")
    received = list(run.transcript.received())
    for _, _, encoded, _, _ in first_round_secrets(run, population):
        assert contains_vector(received, encoded)


@pytest.mark.parametrize("name", ["secagg", "ckks", "bfv", "encrypted-secagg", "one-shot"])
def test_no_client_can_be_read_from_all_that_the_server_got(name):
    run, population = run_recorded(name)
    received = list(run.transcript.received())
    assert sum(map(len, received)) > 20 * LENGTH
    for _, update, encoded, norm, loss in first_round_secrets(run, population):
        assert not contains_vector(received, update)
        assert not contains_vector(received, encoded)
        assert not contains_vector(received, encoded[:-1] / encoded[-1])
        assert not contains_number(received, norm)
        assert not contains_number(received, loss)


@pytest.mark.parametrize("name", ["secagg", "ckks", "bfv", "encrypted-secagg", "one-shot"])
def test_weights_do_not_show_in_lengths_or_counts(name):
    """Clients with 3, 5 and 8 examples send messages of the same kinds; lengths tell only the kind.

    Shares are sealed per neighbour and identifiers have fixed width, so every client's messages of
    one kind have one length within a few framing bytes.
    """
    run, population = run_recorded(name)
    shapes: dict[int, list[tuple[str, int]]] = {}
    for entry in run.transcript:
        if entry.direction == "up" and entry.party in population and entry.round == 0:
            kind = describe(entry.message, run.plan.secure_sum)[0]
            shapes.setdefault(entry.party, []).append((kind, len(entry.message)))
    assert len(shapes) == 20
    first = shapes[min(shapes)]
    for shape in shapes.values():
        assert [kind for kind, _ in shape] == [kind for kind, _ in first]
        assert [size for _, size in shape] == [size for _, size in first]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ckks", {"encrypted sum"}),
        ("encrypted-secagg", {"encrypted sum of masked words"}),
        ("one-shot", {"committee delivery", "committee proposal", "committee request"}),
    ],
)
def test_what_openers_are_told_is_named_by_the_sum(name, told):
    run, _ = run_recorded(name)
    kinds = {
        describe(entry.message, run.plan.secure_sum)[0]
        for entry in run.transcript
        if entry.direction == "down" and not is_client(entry.party)
    }
    assert kinds == told


def test_masked_vectors_are_uniform():
    """Chi-squared over 16 cells of the top bits and of the low bits of all masked coordinates.

    2 rounds × 20 clients × 40 coordinates = 1,600 values a statistic; threshold at tail 2.5e-7
    each, so false-alarm rate ≤ 5e-7.  The plain encoding of the same run fails it.
    """
    run, population = run_recorded("secagg")
    masked, bits = [], None
    for client in population:
        for round_index in (0, 1):
            messages = [
                e.message
                for e in run.transcript
                if e.direction == "up" and e.party == client and e.round == round_index
            ]
            masked.append(uploaded_vector(messages, run.plan.secure_sum))
    values = np.concatenate(masked).astype(np.uint64)
    bits = run.resolve(2).spec(20, b"").modulus_bits
    assert uniformity(values, bits) < 1
    plain, _ = run_recorded("insecure-plain")
    clear = [
        uploaded_vector([e.message], plain.plan.secure_sum)
        for e in plain.transcript
        if e.direction == "up" and isinstance(decode(e.message), SumMessage)
    ]
    exposed = np.concatenate(clear).astype(np.int64) & ((1 << bits) - 1)
    assert uniformity(exposed.astype(np.uint64), bits) > 1


def uniformity(values: np.ndarray, bits: int) -> float:
    """The larger of two chi-squared statistics, over the threshold: above 1 is not uniform."""
    limit = chi2.isf(2.5e-7, 15)
    cells = [values >> np.uint64(bits - 4), values & np.uint64(15)]
    worst = 0.0
    for cell in cells:
        counts = np.bincount(cell.astype(np.int64), minlength=16)
        assert counts.size == 16, "a masked value lies outside the ring"
        expected = values.size / 16
        worst = max(worst, float(((counts - expected) ** 2 / expected).sum()) / limit)
    return worst


def test_the_server_object_reaches_no_client_object():
    """Walk everything reachable from a round's server: no client, identity, mask or data set."""
    import gc

    from fedavg.client.client import Client
    from fedavg.data.dataset import Dataset
    from fedavg.server.round import RoundServer
    from secagg import Identity

    forbidden = (Client, Dataset, Identity)
    seen: list[RoundServer] = []
    original = RoundServer.result

    def spying(self):
        seen.append(self)
        return original(self)

    RoundServer.result = spying
    try:
        run_recorded("secagg")
    finally:
        RoundServer.result = original
    reached, frontier = set(), [seen[0]]
    while frontier:
        thing = frontier.pop()
        if id(thing) in reached or isinstance(thing, type) or callable(thing):
            continue
        reached.add(id(thing))
        assert not isinstance(thing, forbidden)
        if type(thing).__module__ != "builtins" or isinstance(thing, list | dict | tuple | set):
            frontier.extend(gc.get_referents(thing))
    assert len(reached) > 20
