"""Models of the clients' own: settings, splits, what each kind trains, and what stays at the client."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedavg.algorithms.blocks.layers import LayerBlocks
from fedavg.algorithms.personal.ditto import Ditto
from fedavg.algorithms.personal.fedrep import FedRep
from fedavg.algorithms.personal.finetune import FineTune
from fedavg.algorithms.personal.scores import Score, held_out, summary_of
from fedavg.algorithms.state import MemoryStore
from fedavg.client import personal as personal_training
from fedavg.client.personal import divided, prepare_personal, score_client
from fedavg.client.update import ClientContext, prepare
from fedavg.config.build import build_job, load_config
from fedavg.config.settings import PersonalizationConfig
from fedavg.data.dataset import Dataset
from fedavg.encoding.broadcast import ModelCodec
from fedavg.errors import ConfigError, PlanError
from fedavg.federation.federation import Federation
from fedavg.models.layout import Layout
from fedavg.models.spec import ModelSpec
from fedavg.models.zoo import build_model
from fedavg.optimizers.local import LocalTraining
from fedavg.plan.codec import plan_from_bytes, plan_to_bytes
from fedavg.plan.resolution import resolve
from fedavg.protocol.messages import RoundStart, encode
from fedavg.simulation.faults import Faults
from fedavg.simulation.population import Population
from fedavg.training.job import TrainingJob
from fedavg.training.loop import local_update
from fedavg.training.setup import set_apart
from tests.e2e.small import SUMS, examples, plan

MLP = ModelSpec("mlp", (12,), 3, seed=4, hidden=(8,))
HEAD = ("layers.1.*",)
TRAINING = LocalTraining(epochs=3, lr=0.3)
ROUNDS = 4


def skewed(n=12, *, rows=40):
    """Clients whose labels mean different things, so that no single model fits all of them."""
    found = {}
    for client in range(n):
        data = examples(rows, 200 + client)
        found[client] = Dataset(data.features, (data.labels + client) % 3)
    return found


def bench_for(personal, spec=MLP, store=None, **changes):
    sums = SUMS["insecure-plain"]
    whole = plan(sums, personalization=personal, **changes)
    model = spec.build()
    set_apart(model, personal.head if personal else ())
    layout = Layout.of(model)
    resolution = resolve(
        whole, num_clients=20, vector_length=layout.size, num_rounds=ROUNDS, largest_client=100
    )
    material = sums.provision(resolution.spec(20, b""), {}).clients
    side = sums.client_side(material)
    return ClientContext(resolution, model, layout, side, 0, store or MemoryStore())


def start_of(ctx, index=0, vector=None):
    begun = ctx.layout.flatten(ctx.model) if vector is None else vector
    return RoundStart(index, begun.astype("<f4").tobytes())


@given(count=st.integers(1, 200), fraction=st.floats(0.01, 0.99), client=st.integers(0, 99))
def test_the_split_is_public_whole_and_never_leaves_a_client_nothing_to_train_on(
    count, fraction, client
):
    own, held = held_out(count, fraction, (3, client))
    assert sorted([*own, *held]) == list(range(count))
    assert len(own) >= 1
    assert len(held) >= (count > 1)
    again = held_out(count, fraction, (3, client))
    assert all((a == b).all() for a, b in zip((own, held), again, strict=True))


def test_values_outside_their_range_are_named():
    for fraction in (0.0, 1.0, -0.1, float("nan")):
        for make in (FineTune, Ditto):
            with pytest.raises(ConfigError, match="test_fraction"):
                make(TRAINING, test_fraction=fraction)
    for strength in (-1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="strength"):
            Ditto(TRAINING, strength)
    with pytest.raises(ConfigError, match="head must list patterns"):
        FedRep(TRAINING, ())
    with pytest.raises(PlanError, match="head must be a tuple"):
        FedRep(TRAINING, "layers.1.*")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"kind": "ditto", "head": ["layers.1.*"]}, "goes with personalization.kind = 'fedrep'"),
        ({"kind": "fedrep"}, "head must list patterns"),
        ({"kind": "fedrep", "head": ["layer.9.*"]}, "no tensor is called 'layer.9.*'"),
        ({"kind": "fedrep", "head": ["*"]}, "leaves nothing to average"),
        ({"kind": "finetune", "test_fraction": 1.5}, "test_fraction"),
    ],
)
def test_mistakes_in_the_table_are_named(table, said):
    base = {"data.name": "digits", "data.clients": 100, "model.name": "mlp"}
    keys = {f"personalization.{key}": value for key, value in table.items()}
    with pytest.raises(ConfigError) as caught:
        build_job(load_config(None, {**base, **keys}))
    assert said in str(caught.value)


def test_a_frozen_head_is_refused():
    model = ModelSpec("mlp", (12,), 3, hidden=(8,), freeze=("layers.1.bias",)).build()
    with pytest.raises(ConfigError, match=r"layers.1.bias is frozen"):
        set_apart(model, HEAD)


@pytest.mark.parametrize(
    "personal", [FineTune(TRAINING), Ditto(TRAINING, 0.5), FedRep(TRAINING, HEAD)]
)
def test_plans_survive_their_bytes(personal):
    whole = plan(SUMS["insecure-plain"], personalization=personal)
    assert repr(plan_from_bytes(plan_to_bytes(whole))) == repr(whole)


@pytest.mark.parametrize("personal", [Ditto(TRAINING), FedRep(TRAINING, HEAD)])
def test_blocks_leave_room_for_fine_tuning_alone(personal):
    blocks = LayerBlocks.by_count(Layout.of(MLP.build()), 2)
    plan(SUMS["insecure-plain"], personalization=FineTune(TRAINING), blocks=blocks)
    with pytest.raises(PlanError, match="personalise by fine-tuning"):
        plan(SUMS["insecure-plain"], personalization=personal, blocks=blocks)


def test_silent_settings_are_those_of_local_training():
    config = load_config(None, {"personalization.kind": "ditto", "local.proximal": 0.3})
    from fedavg.config.build import build_plan

    plan = build_plan(config, 100)
    personal, local = plan.personalization, plan.local_training
    assert (personal.training.lr, personal.training.epochs) == (local.lr, local.epochs)
    assert personal.training.proximal == 0
    changed = load_config(
        None,
        {"personalization.kind": "ditto", "personalization.epochs": 9, "personalization.lr": 0.07},
    )
    personal = build_plan(changed, 100).personalization
    assert (personal.training.lr, personal.training.epochs) == (0.07, 9)
    assert PersonalizationConfig().kind == "none"


@pytest.mark.parametrize("name", ["mlp", "softmax"])
@pytest.mark.parametrize("fast", [True, False])
def test_ditto_without_strength_is_training_alone(name, fast, monkeypatch):
    if not fast:
        monkeypatch.setattr("fedavg.training.loop.FAST_PATHS", [])
    ctx = bench_for(Ditto(TRAINING, 0.0), ModelSpec(name, (12,), 3, seed=2))
    data, state = examples(30, 9), {}
    alone = ctx.layout.flatten(ctx.model)
    rng = np.random.default_rng(0)
    for index in range(3):
        sent = rng.normal(size=ctx.layout.size) if index else alone.copy()
        state = prepare_personal(ctx, 5, data, start_of(ctx, index, sent), state).state
        alone = alone + local_update(
            TrainingJob(
                *(ctx.model, ctx.layout, alone, data, TRAINING),
                round_index=index,
                num_rounds=ROUNDS,
                seed=5,
            )
        )
    np.testing.assert_allclose(state["personal.model"], alone, atol=1e-6)


@pytest.mark.parametrize("fast", [True, False])
def test_ditto_of_endless_strength_is_the_shared_model(fast, monkeypatch):
    if not fast:
        monkeypatch.setattr("fedavg.training.loop.FAST_PATHS", [])
    sent = np.random.default_rng(1).normal(size=MLP_SIZE)
    distances = []
    for strength in (0.0, 1.0, 100.0, 1e12):
        ctx = bench_for(Ditto(TRAINING, strength))
        begun = {"personal.model": np.zeros(MLP_SIZE, np.float32)}
        kept = prepare_personal(ctx, 5, examples(30, 9), start_of(ctx, 1, sent), begun).state
        distances.append(float(np.abs(kept["personal.model"] - sent).max()))
    assert all(near < far for far, near in itertools.pairwise(distances))
    assert distances[-1] < 1e-6


MLP_SIZE = 12 * 8 + 8 + 8 * 3 + 3


def test_a_personal_model_is_drawn_to_what_the_client_was_sent_in_whatever_format():
    ctx = bench_for(Ditto(TRAINING, 1e12), broadcast="int4")
    codec = ModelCodec("int4", ctx.layout)
    sent = codec.encode(np.random.default_rng(1).normal(size=MLP_SIZE))
    kept = prepare_personal(ctx, 5, examples(30, 9), RoundStart(0, sent), {}).state
    np.testing.assert_allclose(kept["personal.model"], codec.decode(sent), atol=1e-6)


def test_what_ditto_and_finetuning_send_is_what_is_sent_without_them():
    data = examples(30, 9)
    plain = bench_for(None)
    expected = prepare(plain, 5, data, start_of(plain), {}).encoded
    for personal in (FineTune(TRAINING), Ditto(TRAINING, 0.5)):
        ctx = bench_for(personal)
        state = {"personal.model": np.ones(MLP_SIZE, np.float32), "other": np.ones(1)}
        sent = prepare_personal(ctx, 5, data, start_of(ctx), state).encoded
        assert (sent == expected).all()


def test_fedrep_sends_the_body_trained_under_its_own_head_and_restores_the_module():
    ctx = bench_for(FedRep(TRAINING, HEAD))
    assert ctx.layout.names == ("layers.0.weight", "layers.0.bias")
    data, before = examples(30, 9), ctx.model.state_dict()
    initial = {name: part.clone() for name, part in before.items()}
    prepared = prepare_personal(ctx, 5, data, start_of(ctx), {})
    assert prepared.encoded.size == 12 * 8 + 8 + 1
    model = MLP.build()
    body, head = Layout.of({n: p for n, p in model.named_parameters() if "0" in n}), HEAD_LAYOUT
    for name, part in model.named_parameters():
        part.requires_grad = name.startswith("layers.1")
    common = {"round_index": 0, "num_rounds": ROUNDS, "seed": 5}
    moved = local_update(TrainingJob(model, head, head.flatten(model), data, TRAINING, **common))
    own = (head.flatten(initial) + moved).astype(np.float32)
    np.testing.assert_array_equal(prepared.state["personal.head"], own)
    head.load_vector(model, own)
    for name, part in model.named_parameters():
        part.requires_grad = name.startswith("layers.0")
    vector = body.flatten(initial)
    training = ctx.resolution.plan.local_training
    update = local_update(TrainingJob(model, body, vector, data, training, **common))
    encoded = ctx.resolution.plan.encoding.encode(update) * len(data)
    np.testing.assert_array_equal(prepared.encoded, np.append(encoded, len(data)))
    for name, part in ctx.model.named_parameters():
        assert part.requires_grad == name.startswith("layers.0")
        if name.startswith("layers.1"):
            assert (part == initial[name]).all()


HEAD_LAYOUT = Layout(("layers.1.weight", "layers.1.bias"), ((3, 8), (3,)))


def test_a_head_of_an_earlier_round_goes_on():
    ctx, data = bench_for(FedRep(TRAINING, HEAD)), examples(30, 9)
    first = prepare_personal(ctx, 5, data, start_of(ctx), {}).state
    fresh = prepare_personal(ctx, 5, data, start_of(ctx, 1), {}).state
    second = prepare_personal(ctx, 5, data, start_of(ctx, 1), first).state
    assert (second["personal.head"] != fresh["personal.head"]).any()


def test_scores_of_each_kind():
    data, held = examples(60, 9), examples(50, 10)
    wrong = Dataset(data.features, (data.labels + 1) % 3)
    wrong_held = Dataset(held.features, (held.labels + 1) % 3)
    ctx = bench_for(FineTune(LocalTraining(epochs=40, lr=0.5)))
    vector = trained_on(ctx, data)
    (score,) = score_client(ctx, 3, wrong, wrong_held, vector, {})
    assert (score.client, score.examples, score.trained) == (3, 50, True)
    assert score.shared < 0.2
    assert score.personal > 0.9
    ctx = bench_for(Ditto(TRAINING, 0.1))
    own = trained_on(ctx, wrong)
    (score,) = score_client(ctx, 3, wrong, wrong_held, vector, {"personal.model": own})
    assert score.shared < 0.2
    assert score.personal > 0.9
    (score,) = score_client(ctx, 3, wrong, wrong_held, vector, {})
    assert not score.trained
    assert score.personal == score.shared
    ctx = bench_for(FedRep(LocalTraining(epochs=40, lr=0.5), HEAD))
    body = ctx.layout.flatten(ctx.model).astype(np.float32)
    (score,) = score_client(ctx, 3, wrong, wrong_held, body, {})
    assert score.shared is None
    assert score.personal > 0.9


def trained_on(ctx, data):
    start = ctx.layout.flatten(ctx.model)
    training = LocalTraining(epochs=40, lr=0.5)
    common = {"round_index": 0, "num_rounds": 1, "seed": 0}
    moved = local_update(TrainingJob(ctx.model, ctx.layout, start, data, training, **common))
    return (start + moved).astype(np.float32)


def test_summaries_count_who_is_better_off():
    scores = [
        Score(0, 4, 0.5, 0.75, True),
        Score(1, 4, 0.5, 0.25, True),
        Score(2, 4, 1.0, 1.0, False),
    ]
    summary = summary_of("ditto", scores)
    assert (summary["better"], summary["worse"], summary["untrained"]) == (1, 1, 1)
    assert summary["personal"]["worst"] == 0.25
    assert summary["shared"]["mean"] == pytest.approx(2 / 3)
    assert (summary["figure"], summary["greater_is_better"], summary["share"]) == (
        "accuracy",
        True,
        True,
    )
    alone = summary_of("fedrep", [Score(0, 4, None, 0.75, True)])
    assert alone["shared"] is None
    assert alone["better"] == alone["worse"] == 0


def test_summaries_of_errors_count_the_smaller_one_as_better():
    like = ("rmse", False, False)
    scores = [
        Score(0, 4, 5.0, 2.0, True, *like),
        Score(1, 4, 5.0, 7.5, True, *like),
        Score(2, 4, 4.0, np.inf, True, *like),
    ]
    summary = summary_of("finetune", scores)
    assert (summary["better"], summary["worse"]) == (1, 2)
    assert summary["shared"] == {
        "mean": pytest.approx(14 / 3),
        "worst": 5.0,
        "q10": 5.0,
        "median": 5.0,
        "q90": pytest.approx(4.2),
    }
    assert summary["personal"]["worst"] is None  # not defined
    assert summary["personal"]["median"] == 7.5


def test_a_callers_module_is_left_as_it_is():
    model = build_model("mlp", (12,), 3, seed=0)
    whole = plan(SUMS["insecure-plain"], personalization=FedRep(TRAINING, HEAD))
    federation = Federation(model, skewed(), whole)
    assert all(part.requires_grad for part in model.parameters())
    assert federation.layout.names == ("layers.0.weight", "layers.0.bias")


def test_examples_held_out_are_never_trained_on(monkeypatch):
    """Every data set that any training sees is disjoint from the client's held-out rows."""
    seen = {}
    original = local_update

    def spying(job):
        seen.setdefault(job.seed, []).append(job.dataset.features)
        return original(job)

    monkeypatch.setattr("fedavg.client.update.local_update", spying)
    monkeypatch.setattr(personal_training, "local_update", spying)
    population = skewed(6)
    for personal in (FineTune(TRAINING), Ditto(TRAINING), FedRep(TRAINING, HEAD)):
        seen.clear()
        whole = plan(SUMS["insecure-plain"], personalization=personal)
        run = Federation(MLP, population, whole)
        list(run.run(2))
        assert len(run.scores) == 6
        for client, data in population.items():
            _, held = held_out(len(data), 0.2, (0, client))
            rows = {row.tobytes() for row in data.features[held]}
            trained = {row.tobytes() for part in seen[client] for row in part}
            assert len(rows) == 8
            assert len(trained) == len(data) - 8
            assert not rows & trained


@pytest.mark.parametrize("kind", ["finetune", "ditto", "fedrep"])
def test_a_client_lent_to_another_process_is_trained_on_its_own_part_or_not_at_all(kind):
    personal = {"finetune": FineTune(TRAINING), "ditto": Ditto(TRAINING)}.get(kind)
    ctx = bench_for(personal or FedRep(TRAINING, HEAD))
    population = Population({5: examples(30, 9)}, Faults())
    sums = ctx.resolution.plan.secure_sum
    material = sums.provision(ctx.resolution.spec(20, b""), {}).clients
    population.equip(ctx.resolution, ctx.model, ctx.layout, material, 0)
    lent = population.train(5, examples(30, 9), encode(start_of(ctx)))
    if kind == "fedrep":
        assert lent is None
        return
    own, _ = divided(ctx, 5, examples(30, 9))
    assert len(own) == 24
    encoded = ctx.resolution.plan.encoding.encode(lent) * len(own)
    sent = prepare_personal(ctx, 5, own, start_of(ctx), {}).encoded
    assert (sent == np.append(encoded, len(own))).all()


def test_a_client_whose_scoring_fails_is_left_out(monkeypatch):
    from fedavg.client import client as client_module

    def failing(ctx, client_id, *others):
        if client_id == 3:
            raise ZeroDivisionError
        return score_client(ctx, client_id, *others)

    monkeypatch.setattr(client_module, "score_client", failing)
    run = Federation(MLP, skewed(6), plan(SUMS["insecure-plain"], personalization=Ditto(TRAINING)))
    assert len(list(run.run(1))) == 1
    assert [score.client for score in run.scores] == [0, 1, 2, 4, 5]


def test_a_pull_that_no_step_would_feel_is_refused():
    """Mutant: without the check the personal model is trained as if strength were 0, without a word."""
    from tests.fedavg.support import own_parts

    own = LocalTraining(loop=own_parts.loop)
    with pytest.raises(ConfigError, match="Ditto pulls .* your own client loop"):
        Ditto(own, strength=0.1)
    assert Ditto(own, strength=0.0).training == own
    assert FineTune(own).training == own
