"""Random-k and error feedback: the same places for all, nothing lost, and no bias."""

from __future__ import annotations

import dataclasses
import logging
import math
from dataclasses import replace

import numpy as np
import pytest

from fedavg.algorithms.chain import ClientChain
from fedavg.algorithms.error_feedback import ErrorFeedback
from fedavg.algorithms.random_k import RandomK
from fedavg.algorithms.scaffold import Scaffold
from fedavg.client import update as module
from fedavg.contrib.selective.map import SensitivityMap
from fedavg.contrib.selective.sum import Selective
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.encoding.quantised import Quantised
from fedavg.errors import CapacityError, PlanError
from fedavg.plan.resolution import resolve
from fedavg.privacy.noise import DistributedGaussian
from fedavg.sums.encrypted import Bfv
from fedavg.sums.masked import SecAgg
from fedavg.sums.plain import InsecurePlain
from tests.e2e.small import plan

PRIVATE = {"encoding": FixedPoint(0.5, 9), "noise": DistributedGaussian(1.3)}


def resolved(length=40, **changes):
    made = plan(InsecurePlain(), **changes)
    return resolve(made, num_clients=20, vector_length=length, num_rounds=50, largest_client=8)


def stages_of(compression, *, feedback):
    return (*([ErrorFeedback()] if feedback else []), *([compression] if compression else []))


def contribution(resolution, encoding, update, examples, round_index, state):
    """What a client of this plan makes of an update in a round."""
    facts = dataclasses.replace(resolution.facts(round_index), examples=examples)
    chain = ClientChain(resolution.plan.stages, facts, {}, state)
    return module.contribution(resolution, encoding, chain, update, examples)


def test_places_are_distinct_sorted_and_change_with_the_round_and_the_seed():
    chosen = RandomK(0.25, seed=4)
    first = chosen.places(40, 0)
    assert first.size == 10 == chosen.length(40)
    assert (np.diff(first) > 0).all()
    assert not np.array_equal(first, chosen.places(40, 1))
    assert not np.array_equal(first, RandomK(0.25, seed=5).places(40, 0))
    assert RandomK(1e-9).length(40) == 1
    assert RandomK(1.0).places(40, 3).tolist() == list(range(40))


def test_every_place_has_its_turn_equally_often():
    """10,000 rounds of 10 of 40 places: each 2,500 times, ± 6.5·√(10,000·¼·¾).

    Bernstein's inequality: 40·2·e^(−(281²/2)/(1875 + 281/3)) < 2e-7.
    """
    counts = np.zeros(40)
    for index in range(10_000):
        counts[RandomK(0.25, 9).places(40, index)] += 1
    assert np.abs(counts - 2500).max() < 6.5 * math.sqrt(1875)


def test_scattering_undoes_selecting_and_is_unbiased_over_the_places():
    """Mean over 4,000 rounds of the scaled selection: entries 0 or 4x, each within 6.5 standard errors."""
    chosen, vector = RandomK(0.25, 1), np.random.default_rng(2).standard_normal(40)
    mean = np.zeros(40)
    for index in range(4000):
        values = chosen.select(vector, index)
        mean += chosen.scatter(values, 40, index, unbiased=True) / 4000
        plain = chosen.scatter(values, 40, index, unbiased=False)
        assert np.array_equal(plain[chosen.places(40, index)], values)
        assert np.count_nonzero(plain) == 10
    assert (np.abs(mean - vector) < 6.5 * np.abs(vector) * math.sqrt(3 / 4000)).all()


@pytest.mark.parametrize(
    "options",
    [{"fraction": 0.0}, {"fraction": 1.1}, {"fraction": math.nan}, {"fraction": 0.5, "seed": -1}],
)
def test_meaningless_choices_cannot_be_made(options):
    with pytest.raises(PlanError, match="random-k"):
        RandomK(**options)


def test_every_number_of_a_plan_follows_the_places_that_are_sent():
    whole = resolved(1000, **PRIVATE)
    part = resolved(1000, **PRIVATE, stages=(RandomK(0.1),))
    assert part.update_length == 100
    assert part.sensitivity.dimension == part.encoded_length == 100
    assert part.sensitivity.l2 == FixedPoint(0.5, 9).l2_sensitivity(100) < whole.sensitivity.l2
    assert part.spec(20, b"").vector_length == 100
    rotated = resolved(1000, encoding=FixedPoint(0.5, 9, rotate=True), noise=PRIVATE["noise"])
    assert rotated.encoded_length == 1024
    weighted = resolved(1000, stages=(RandomK(0.1),))
    assert weighted.encoded_length == 101


def test_under_noise_clipping_follows_the_selection():
    """A long update whose chosen part is short passes whole; a long chosen part is cut to the clip."""
    resolution = resolved(**PRIVATE, stages=(RandomK(0.25),))
    places = RandomK(0.25).places(40, 3)
    elsewhere = np.full(40, 100.0)
    elsewhere[places] = 0.1
    encoding = resolution.plan.encoding
    prepared = contribution(resolution, encoding, elsewhere, 5, 3, {})
    decoded = encoding.decode(prepared.encoded, 10)
    assert np.abs(decoded - 0.1).max() <= 1 / encoding.scale
    long = contribution(resolution, encoding, np.full(40, 100.0), 5, 3, {})
    assert np.linalg.norm(long.encoded) <= resolution.sensitivity.l2
    assert long.state == {}


@pytest.mark.parametrize("mutant", ["no clipping", "scaled by d/k at the client"])
def test_the_test_of_clipping_catches_longer_vectors(monkeypatch, mutant):
    if mutant == "no clipping":
        monkeypatch.setattr("fedavg.client.update.l2_clip", lambda vector, clip: vector)
    else:
        encode = FixedPoint.encode
        monkeypatch.setattr(FixedPoint, "encode", lambda self, vector: 4 * encode(self, vector))
    with pytest.raises((AssertionError, CapacityError)):
        test_under_noise_clipping_follows_the_selection()


@pytest.mark.parametrize("compression", [None, RandomK(0.3, 2)])
@pytest.mark.parametrize("weighting", ["examples", "equal"])
@pytest.mark.parametrize(
    "encoding",
    [Quantised(0.5, 1), Quantised(0.7, 2, rotate=True), FixedPoint(8.0, 6, rounding="nearest")],
)
def test_what_was_sent_and_what_is_kept_add_up_to_what_was_meant(compression, weighting, encoding):
    resolution = resolved(
        encoding=encoding, weighting=weighting, stages=stages_of(compression, feedback=True)
    )
    rng, state, meant, sent = np.random.default_rng(0), {}, np.zeros(40), np.zeros(40)
    for index in range(12):
        update = rng.standard_normal(40) * 0.2
        prepared = contribution(resolution, encoding.seeded((index,)), update, 7, index, state)
        weight = 7 if weighting == "examples" else 1
        length = resolution.update_length
        own = encoding.decode(prepared.encoded[: encoding.encoded_length(length)] / weight, length)
        meant += update
        if compression is None:
            sent += own
        else:
            sent += compression.scatter(own, 40, index, unbiased=False)
        state = prepared.state
        assert np.allclose(sent + state["error-feedback.residual"], meant, atol=1e-6)


def test_what_lies_outside_is_clamped_counted_in_the_log_and_sent_later(caplog):
    encoding = Quantised(1.0, 4)
    resolution = resolved(4, encoding=encoding, weighting="equal", stages=(ErrorFeedback(),))
    update, state, sent = np.array([2.5, 0.0, -1.0, 0.0]), {}, np.zeros(4)
    with caplog.at_level(logging.INFO, logger="fedavg.client.update"):
        for index in range(3):
            prepared = contribution(resolution, encoding, update * (index == 0), 1, index, state)
            sent, state = sent + encoding.decode(prepared.encoded), prepared.state
    assert sent[0] == pytest.approx(2.5, abs=1 / 7)
    assert [record.getMessage() for record in caplog.records][:2] == [
        "round 0: 1 of 4 coordinates clamped",
        "round 1: 1 of 4 coordinates clamped",
    ]


def test_without_noise_only_and_with_noise_nothing_is_logged(caplog):
    resolution = resolved(**PRIVATE)
    with caplog.at_level(logging.INFO):
        contribution(resolution, resolution.plan.encoding, np.full(40, 9.0), 1, 0, {})
    assert not caplog.records


def quadratic(encoding, compression, *, feedback, rounds=600):
    """How far ten clients, each with its own optimum, end from their common one after steps of 0.02."""
    resolution = resolved(
        encoding=encoding, weighting="equal", stages=stages_of(compression, feedback=feedback)
    )
    centres = np.random.default_rng(1).standard_normal((10, 40))
    model, states = np.zeros(40), [{} for _ in centres]
    for index in range(rounds):
        total = 0
        for client, centre in enumerate(centres):
            seeded, update = encoding.seeded((client, index)), (centre - model) * 0.02
            prepared = contribution(resolution, seeded, update, 1, index, states[client])
            states[client] = prepared.state
            total = total + prepared.encoded
        mean = encoding.decode(total, resolution.update_length) / 10
        if compression is not None:
            mean = compression.scatter(mean, 40, index, unbiased=not feedback)
        model = model + mean
    return float(np.linalg.norm(model - centres.mean(0)))


@pytest.mark.parametrize("compression", [None, RandomK(0.5)])
def test_one_bit_stalls_alone_and_goes_on_with_feedback(compression):
    """Alone each round's rounding adds up, to about range·√(d/n)/√(2·0.02) = 1.0, and more in fewer places.

    The start is 2.1 away.  With feedback what is wrong is the residuals of the last round only.
    """
    encoding = Quantised(0.1, 1)
    alone = quadratic(encoding, compression, feedback=False)
    kept = quadratic(encoding, compression, feedback=True)
    exact = quadratic(Quantised(0.1, 32), None, feedback=False)
    assert exact < 1e-4
    assert alone > 0.7
    assert kept < 0.25


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (PRIVATE | {"stages": (ErrorFeedback(),)}, "clipping cuts off"),
        (PRIVATE | {"encoding": Quantised(0.5, 8)}, "FixedPoint"),
        ({"encoding": FixedPoint(0.5, 9)}, "Quantised"),
        ({"broadcast": "int2"}, "int2"),
        ({"stages": (Scaffold(), RandomK(0.5))}, "Scaffold does not go with RandomK"),
        ({"stages": (Scaffold(), ErrorFeedback())}, "Scaffold does not go with ErrorFeedback"),
    ],
)
def test_plans_that_do_not_add_up_are_refused(changes, said):
    with pytest.raises(PlanError, match=said):
        plan(InsecurePlain(), **changes)


def test_a_map_of_parameters_does_not_go_with_changing_places():
    sums = Selective(Bfv(), SecAgg(), SensitivityMap.random(40, 0.2, seed=0))
    assert plan(sums).stages == ()
    with pytest.raises(PlanError, match="RandomK"):
        plan(sums, stages=(RandomK(0.5),))
    with pytest.raises(PlanError, match="rotation"):
        plan(sums, encoding=Quantised(1.0, 4, rotate=True))


def test_plans_differ_by_each_of_these():
    plain = plan(InsecurePlain())
    others = [
        replace(plain, stages=(RandomK(0.5),)),
        replace(plain, stages=(ErrorFeedback(),)),
        replace(plain, broadcast="int8"),
        replace(plain, encoding=Quantised(1.0, 4)),
    ]
    sizes = {"num_clients": 20, "vector_length": 40, "num_rounds": 5, "largest_client": 8}
    assert len({resolve(made, **sizes).digest for made in [plain, *others]}) == 5
