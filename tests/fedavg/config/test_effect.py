"""A setting that nothing reads beside the others is refused by its name, and so is what it would go with."""

from __future__ import annotations

import functools
import re
from typing import get_type_hints

import msgspec
import pytest

import fedavg
from fedavg.config.build import build_job, load_config
from fedavg.config.effect import READ_WHEN, is_read
from fedavg.config.ranges import RANGES
from fedavg.config.settings import Config
from fedavg.errors import ConfigError
from fedavg.parts import registered

NO_NOISE = {"privacy.noise": "none"}
OTHER = {  # for each key, a value that is not its default, and settings beside which nothing reads it
    "data.feature_strength": (0.5, {}),
    "data.spread": (3.0, {"data.partition": "iid"}),
    "data.alpha": (0.7, {"data.partition": "iid"}),
    "data.shards_per_client": (3, {"data.partition": "iid"}),
    "model.digest": ("00", {}),
    "model.fresh": (["a"], {}),
    "local.epochs": (7, {"local.steps": 5}),
    "local.milestones": ([0.3], {}),
    "local.factor": (0.3, {"local.schedule": "cosine"}),
    "local.momentum": (0.5, {}),
    "local.nesterov": (True, {"local.optimizer": "adam"}),
    "local.beta1": (0.5, {}),
    "local.beta2": (0.5, {"local.optimizer": "momentum"}),
    "evaluation.min_delta": (0.1, {}),
    "evaluation.by_client": (
        True,
        NO_NOISE | {"personalization.kind": "fedrep", "personalization.head": ["1.*"]},
    ),
    "server.milestones": ([0.3], {"server.schedule": "constant"}),
    "server.factor": (0.3, {"server.schedule": "cosine"}),
    "privacy.noise_multiplier": (1.0, NO_NOISE),
    "privacy.clip": (1.0, NO_NOISE),
    "privacy.max_participations": (5, NO_NOISE),
    "privacy.ledger": ("budget.json", NO_NOISE),
    "privacy.options": ({"a": 1}, NO_NOISE),
    "clipping.quantile": (0.7, {}),
    "clipping.learning_rate": (0.7, {}),
    "clipping.bit_stddev": (0.7, {}),
    "encoding.range": (4.0, {"baseline": False}),
    "encoding.bits": (9, {"encoding.kind": "whole-test"}),
    "encoding.rotate": (True, {"encoding.kind": "whole-test"}),
    "encoding.rounding": ("stochastic", {"encoding.kind": "whole-test"}),
    "encoding.options": ({"a": 1}, {}),
    "compression.fraction": (0.5, {}),
    "blocks.kind": ("rolling", {}),
    "blocks.share": (0.5, {"blocks.count": 2}),
    "blocks.seed": (3, {}),
    "personalization.epochs": (3, {}),
    "personalization.lr": (0.3, {}),
    "personalization.strength": (0.3, {"personalization.kind": "finetune"}),
    "personalization.head": (["a"], {"personalization.kind": "ditto"}),
    "personalization.test_fraction": (0.3, {}),
    "personalization.options": ({"a": 1}, {}),
}


@fedavg.register("encoding")
class Whole(fedavg.Part, frozen=True, tag="whole-test"):
    """An encoding with no setting but the clip."""

    clip: float


FAMILIES = {"secure_sum": "secure_sum.kind", "server_optimizer": "server.optimizer"}
SHARED = {
    "secure_sum": {
        "scheme": "ckks",
        "key_at": "holder",
        "share": 0.5,
        "choice": "random",
        "rest": "insecure-plain",
        "threat_model": "semi-honest",
        "dropout_rate": 0.2,
        "corrupt_rate": 0.2,
    },
    "server_optimizer": {"momentum": 0.5, "beta1": 0.5, "beta2": 0.5, "tau": 0.5},
}
ALWAYS = {  # keys of numbers that every run reads, or that their part refuses itself
    *("rounds", "seed", "data.image_size", "data.channels", "data.buckets", "data.clients"),
    *("data.test_fraction", "data.split_seed", "model.hidden", "cohort.rate", "cohort.size"),
    *("cohort.retries", "local.batch_size", "local.steps", "local.lr", "local.warmup"),
    *("local.step_decay", "local.l1", "local.l2", "local.proximal", "local.weight_decay"),
    *("local.clip_gradient", "evaluation.patience", "server.lr", "server.warmup"),
    *("server.average_tail", "privacy.epsilon", "privacy.population"),
    *("blocks.count", "simulation.workers", "simulation.dropout", "privacy.delta"),
}


def test_each_number_is_read_by_every_run_or_has_a_rule():
    """A new key is found here: either every run reads it, or the table says when one does."""
    assert set(RANGES) == ALWAYS | (set(RANGES) & set(READ_WHEN))
    assert not ALWAYS & set(READ_WHEN)
    shared = {
        f"{FAMILIES[family].partition('.')[0]}.{name}"
        for family in SHARED
        for name in SHARED[family]
    }
    assert set(READ_WHEN) == set(OTHER) | shared


@pytest.mark.parametrize("key", OTHER)
def test_a_setting_without_effect_is_refused_by_name(key):
    value, beside = OTHER[key]
    with pytest.raises(ConfigError, match=rf"^{key} has no effect here: .+\. Leave {key} out"):
        load_config(None, beside | {key: value})


@pytest.mark.parametrize("family", FAMILIES)
def test_a_setting_of_another_kind_of_part_is_refused_by_name(family):
    kind_key = FAMILIES[family]
    table = kind_key.partition(".")[0]
    refused = accepted = 0
    for kind, part in registered(family).items():
        if not part.__module__.startswith("fedavg.") or kind in ("scheduled", "averaged"):
            continue
        for name, value in SHARED[family].items():
            given = {kind_key: kind, f"{table}.{name}": value}
            if name in part.__struct_fields__ or "chosen" in part.__struct_fields__:
                load_config(None, given)
                accepted += 1
                continue
            said = rf"^{table}\.{name} has no effect here: it goes with {kind_key} = .*'{kind}'"
            with pytest.raises(ConfigError, match=said):
                load_config(None, given)
            refused += 1
    assert refused >= 10
    assert accepted >= 8


def test_what_the_message_says_it_goes_with_is_accepted():
    """The remedy of each refusal is executed: with the named value, the setting is read."""
    followed = 0
    for key, (value, beside) in OTHER.items():
        with pytest.raises(ConfigError) as caught:
            load_config(None, beside | {key: value})
        remedy = re.search(r"it goes with ([\w.]+) = '([\w-]+)'", str(caught.value))
        if remedy is None or remedy[2] in ("ditto", "fedrep"):
            continue
        other = "random-k" if remedy[1] == "compression.kind" else remedy[2]
        also = {"blocks.count": 2} if key == "blocks.share" else {}
        assert load_config(None, {**beside, **also, remedy[1]: other, key: value})
        followed += 1
    assert followed >= 15


def test_defaults_are_never_without_effect_and_what_is_open_is_completed_only_where_it_is_read():
    config = load_config(None, {"server.optimizer": "fedavg", "secure_sum.kind": "insecure-plain"})
    assert not is_read(config, "server.tau")
    hints = get_type_hints(Config)
    for key in READ_WHEN:
        table, _, name = key.partition(".")
        assert name in msgspec.structs.asdict(hints[table]())
        functools.reduce(getattr, key.split("."), config)


def test_a_rule_about_the_data_is_checked_once_the_data_is_read(tmp_path):
    """What "auto" makes of the partition is known only then."""
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(f"{n % 17},{'ab'[n % 2]}\n" for n in range(400)))
    given = NO_NOISE | {"data.name": str(path), "data.target": "y", "data.alpha": 0.1}
    with pytest.raises(ConfigError, match=r"data.alpha has no effect here.*'dirichlet'.*'iid'"):
        build_job(load_config(None, given))
    assert build_job(load_config(None, given | {"data.partition": "dirichlet"}))
