"""Adaptive clipping in a plan: its part of the noise, what a client sends, where the clip norm goes."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pytest

import fedavg.client.update
from dp import update_noise_multiplier
from fedavg.client.client import Client
from fedavg.client.update import ClientContext, encode_update, encoding_for
from fedavg.config.build import build_plan, load_config
from fedavg.encoding.fixed_point import FixedPoint
from fedavg.errors import ConfigError, LocalProtocolError, PlanError
from fedavg.models.layout import Layout
from fedavg.plan.codec import plan_from_bytes, plan_to_bytes
from fedavg.plan.plan import Budget
from fedavg.plan.resolution import resolve
from fedavg.privacy.clipping import AdaptiveClipping
from fedavg.privacy.noise import (
    CentralGaussian,
    DistributedDiscreteGaussian,
    DistributedGaussian,
    DistributedSkellam,
)
from fedavg.privacy.sampling import PoissonCohort
from fedavg.protocol.messages import Ready, RoundStart, encode, start_digest
from fedavg.runs.files.directory import RunDirectory
from fedavg.server.round import RoundServer
from secagg import Identity
from tests.e2e.small import LENGTH, MODEL, SUMS, examples, federation, plan

CLIENTS = 60
DIRECTION = np.full(LENGTH, 1 / math.sqrt(LENGTH))
ENCODING = FixedPoint(1.0, 9)


def private(**changes):
    return {
        "encoding": ENCODING,
        "noise": DistributedGaussian(1.0),
        "clipping": AdaptiveClipping(),
        "budget": Budget(delta=1e-5),
    } | changes


def resolved(**changes):
    return resolve(
        plan(SUMS["insecure-plain"], **private(**changes)),
        num_clients=CLIENTS,
        vector_length=LENGTH,
        num_rounds=3,
        largest_client=8,
    )


def norm_of(client: int) -> float:
    """Norms spread by about 20 % around 3, in no order."""
    return 3 * math.exp(0.4 * ((client * 37 % CLIENTS + 0.5) / CLIENTS - 0.5))


@pytest.fixture
def known_norms(monkeypatch):
    """All clients' updates have the same direction and different lengths; they do not depend on the model."""

    def update(job):
        return DIRECTION * norm_of(job.seed)

    monkeypatch.setattr(fedavg.client.update, "local_update", update)
    monkeypatch.setattr(fedavg.client.update, "stackable", lambda *_: False)


def test_without_noise_it_is_refused_with_the_reason():
    with pytest.raises(PlanError, match="needs noise.*in the clear"):
        plan(SUMS["insecure-plain"], clipping=AdaptiveClipping())


@pytest.mark.parametrize(
    "bad",
    [{"initial": 0.0}, {"quantile": 1.0}, {"learning_rate": math.nan}, {"bit_stddev": -1.0}],
)
def test_settings_that_mean_nothing_are_refused(bad):
    with pytest.raises(PlanError):
        AdaptiveClipping(**bad)


def test_a_count_that_would_take_the_whole_budget_is_refused_before_any_round():
    with pytest.raises(PlanError, match="raise bit_stddev.*enlarge the cohort"):
        resolved(clipping=AdaptiveClipping(bit_stddev=0.5))


def test_the_bit_takes_its_part_of_the_noise_and_no_more():
    """The joint release costs what the claimed multiplier costs; updates get the paper's z_Δ."""
    fixed, adaptive = resolved(clipping=None), resolved()
    assert adaptive.epsilon_at_end() == pytest.approx(fixed.epsilon_at_end(), rel=1e-6)
    assert adaptive.encoded_length == fixed.encoded_length + 1
    alone, bit = fixed.sensitivity.l2, adaptive.bit_units
    assert adaptive.sensitivity.l2 == pytest.approx(math.hypot(alone, bit), rel=1e-12)
    assert adaptive.sensitivity.l1 == fixed.sensitivity.l1 + bit
    assert adaptive.sensitivity.dimension == fixed.sensitivity.dimension + 1
    left = update_noise_multiplier(1.0, CLIENTS / 20)
    assert adaptive.sensitivity.l2 / alone == pytest.approx(
        left, rel=2e-3
    )  # the bit is whole units
    on_count = adaptive.sensitivity.l2 / (2 * bit)
    assert on_count == pytest.approx(CLIENTS / 20, rel=0.02)


@pytest.mark.parametrize("rotate", [False, True])
def test_a_client_sends_its_bit_within_the_joint_sensitivity(rotate):
    resolution = resolved(encoding=FixedPoint(1.0, 9, rotate=rotate))
    for norm, clip, sign in ((3.0, 1.0, -1), (3.0, 3.1, 1), (1e-3, 1e-4, -1), (0.0, 1e-9, 1)):
        for _ in range(20):
            sent = encoded(resolution, DIRECTION * norm, clip)
            assert sent.shape == (resolution.encoded_length,)
            assert sent[-1] == sign * resolution.bit_units
            assert float(sent @ sent) <= resolution.sensitivity.l2**2 * (1 + 1e-12)
    broken = np.full(LENGTH, math.nan)
    assert encoded(resolution, broken, 1.0)[-1] == resolution.bit_units


def encoded(resolution, update, clip):
    return encode_update(resolution, encoding_for(resolution, clip), update, 5)


def client_of(resolution) -> Client:
    sums = resolution.plan.secure_sum
    material = sums.provision(resolution.spec(CLIENTS, b""), {}).clients
    model = MODEL.build()
    ctx = ClientContext(resolution, model, Layout.of(model), sums.client_side(material), 0)
    return Client(0, examples(5, 3), Identity.generate(), ctx)


@pytest.mark.parametrize("clip", [None, 0.0, -1.0, math.nan, math.inf, 1e-200, 1e200])
def test_a_client_refuses_a_clip_norm_that_is_none(clip):
    client = client_of(resolved())
    with pytest.raises(LocalProtocolError, match="clip"):
        client.handle(encode(RoundStart(0, np.zeros(LENGTH, "<f4").tobytes(), clip)))


def test_a_client_with_a_fixed_clip_norm_takes_none_from_the_server():
    client = client_of(resolved(clipping=None))
    with pytest.raises(LocalProtocolError, match="disagree about clipping"):
        client.handle(encode(RoundStart(0, np.zeros(LENGTH, "<f4").tobytes(), 9.0)))


def test_clients_with_another_clip_norm_are_in_another_sum():
    assert len({start_digest(RoundStart(0, b"m", clip)) for clip in (None, 1.0, 1.5)}) == 3


@pytest.mark.parametrize(("told", "agrees"), [(1.0, True), (1.0 + 2**-52, False)])
def test_a_client_told_another_clip_norm_does_not_join_the_sum(told, agrees):
    """A server that gives clients different clip norms, even by one bit, gets no sum over them."""
    resolution = resolved()
    side = resolution.plan.secure_sum.server_side(b"")
    model = np.zeros(LENGTH, "<f4").tobytes()
    server = RoundServer(resolution, side, start=RoundStart(0, model, 1.0), cohort=range(CLIENTS))
    server.open()
    client = client_of(resolution)
    client.handle(encode(RoundStart(0, model, told)))
    for sender in range(CLIENTS):
        server.receive(sender, encode(Ready(0)))
    opening = server.advance()[0][0]
    if agrees:
        assert client.handle(opening)
    else:
        with pytest.raises(LocalProtocolError, match="another round or model"):
            client.handle(opening)


@pytest.mark.parametrize("clip", [1e-80, 0.3, 1e80])
def test_whatever_clip_norm_a_server_names_the_vector_is_as_short(clip):
    """A lying server cannot buy sensitivity: noise and bound are in grid units."""
    resolution = resolved()
    sent = encoded(resolution, DIRECTION * 1e3, clip)
    assert float(sent @ sent) <= resolution.sensitivity.l2**2 * (1 + 1e-12)


@pytest.mark.usefixtures("known_norms")
@pytest.mark.parametrize(
    "noise",
    [
        DistributedGaussian(1.0),
        DistributedSkellam(1.0),
        DistributedDiscreteGaussian(1.0),
        CentralGaussian(1.0),
    ],
    ids=lambda noise: noise.kind,
)
def test_the_clip_norm_finds_the_median_and_the_scale_follows(noise):
    """Norms around 3, clip norm from 1, 25 rounds.

    The count's noise, 3.4 of 60, moves log C by 0.011 a round and by 0.02 in the long run: the bounds
    are five standard deviations off at least.  Along the direction of all updates the mean of a round is
    C itself while every update is longer, up to noise of 2 % of C: bound 15 %.
    """
    run = federation(SUMS["insecure-plain"], n=CLIENTS, changes=private(noise=noise))
    clips, along = [], []
    for result in run.run(25):
        assert result.skipped is None
        clips.append(result.clip)
        along.append(float(run.last_update @ DIRECTION))
    assert clips[0] == 1.0
    assert clips[5] > 1.4
    assert 2.65 < clips[-1] < 3.35
    assert along[:8] == pytest.approx(clips[:8], rel=0.15)
    assert 2.2 < along[-1] < 3.6


@pytest.mark.usefixtures("known_norms")
@pytest.mark.parametrize("name", ["secagg", "ckks", "bfv"])
def test_every_secure_sum_carries_the_bit(name):
    """Three rounds of clip norms far too small: each count says "none", and C grows by e^0.1.

    Noise of about 3.5 of 60 on the count changes that by a factor e^(±0.012): six of those are allowed.
    """
    run = federation(SUMS[name], n=CLIENTS, changes=private())
    clips = [result.clip for result in run.run(3)]
    assert clips == pytest.approx([1.0, math.exp(0.1), math.exp(0.2)], rel=0.1)
    assert clips[1] > 1.02


@pytest.mark.usefixtures("known_norms")
def test_a_round_without_a_sum_counts_noise_alone(monkeypatch):
    """As if no client had been within C: log C grows by η·γ = 0.1 at most, but for noise on the count.

    The noise moves log C by 0.013 in steps of 4e-5, so it is zero once in 800 rounds: in all of three
    rounds with probability 2e-9.
    """
    run = federation(SUMS["insecure-plain"], n=CLIENTS, changes=private())
    rounds = run.run(4)
    next(rounds)
    clips = [run._global.clip]
    monkeypatch.setattr(Client, "handle", lambda *_: ())
    for result in rounds:
        assert result.skipped is not None
        clips.append(run._global.clip)
    assert len(clips) == 4
    assert len(set(clips)) > 1
    assert all(abs(math.log(after / before)) < 0.2 for before, after in itertools.pairwise(clips))


def test_workers_get_the_same_plan():
    whole = plan(SUMS["secagg"], **private(clipping=AdaptiveClipping(0.3, 0.8, 0.1, 7.0)))
    assert plan_from_bytes(plan_to_bytes(whole)) == whole


def test_configuration():
    config = load_config(None, {"clipping.kind": "adaptive", "clipping.quantile": 0.8})
    built = build_plan(config, 1970)
    assert built.clipping == AdaptiveClipping(quantile=0.8)
    assert built.clipping.clipper(built.encoding.clip).clip_norm == config.privacy.clip
    assert build_plan(load_config(None), 1970).clipping is None
    with pytest.raises(ConfigError, match="Do you mean 'quantile'"):
        load_config(None, {"clipping.quantil": 0.8})
    with pytest.raises(ConfigError, match="needs noise"):
        load_config(None, {"clipping.kind": "adaptive", "privacy.noise": "none"})


@pytest.mark.usefixtures("known_norms")
def test_the_clip_norm_is_a_releasable_metric(tmp_path):
    """It is computed from releases alone, so `metrics.jsonl` holds it; without adapting there is none."""
    for name, clipping in (("adaptive", AdaptiveClipping()), ("fixed", None)):
        directory = RunDirectory(tmp_path / name)
        run = federation(SUMS["insecure-plain"], n=CLIENTS, changes=private(clipping=clipping))
        for result in run.run(1):
            directory.append(result)
        row = json.loads((tmp_path / name / "metrics.jsonl").read_text())
        assert row.get("clip") == (1.0 if clipping else None)


@pytest.mark.usefixtures("known_norms")
def test_poisson_cohorts_and_drop_outs_do_not_change_the_denominator():
    """Half of 120 clients a round; the public expectation divides the count, not the cohort."""
    run = federation(SUMS["insecure-plain"], n=CLIENTS, changes=private(cohort=PoissonCohort(0.9)))
    clips = [result.clip for result in run.run(2)]
    assert clips[1] == pytest.approx(math.exp(0.1), rel=0.1)
