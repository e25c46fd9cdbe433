"""The configuration of records: unit without a default, nearest keys, silos from data, and the plan."""

from __future__ import annotations

import numpy as np
import pytest

from fedavg.data.dataset import Dataset
from fedavg.errors import ConfigError, PlanError
from fedavg.models.features.images import Scattering
from fedavg.optimizers.server import FedMomentum
from fedavg.records.table import Silo
from fedavg.runs.records.settings import data_of, load_record_run, plan_of, silos_from
from tests.fedavg.records.small import records


def config(text: str, tmp_path, **overrides):
    path = tmp_path / "records.toml"
    path.write_text(text)
    return load_record_run(path, overrides)


UNIT = '[records]\nunit = "record"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps = 3\n", "records.unit must be given"),
        ("[records]\nrate = 0.1\n", "records.unit must be given"),
        (
            '[records]\nunit = "patient"\n',
            "records.unit: there is no 'patient'; there are person, record",
        ),
        (UNIT + '[secure_sum]\nscheme = "rsa"\n', "secure_sum.scheme: .* there are bfv, ckks"),
        (UNIT + '[secure_sum]\nkeys = "secagg"\n', r"options = \{ keys = "),
        (UNIT + '[data]\npartition = "random"\n', "data.partition: .* there are auto, noisy-sort"),
        (UNIT + "epsilom = 1.0\n", "unknown key 'records.epsilom'. Do you mean 'epsilon'"),
        ("stops = 3\n" + UNIT, "unknown key 'stops'. Do you mean 'steps'"),
        ("steps = 'many'\n" + UNIT, "Expected `int`"),
        (UNIT + '[secure_sum]\nkind = "masks"\n', "there is no 'masks'"),
        (UNIT + '[server]\noptimizer = "lion"\n', "there is no 'lion'"),
        ("steps = \n", "is no valid TOML"),
    ],
)
def test_mistakes_are_named_with_the_file(text, said, tmp_path):
    with pytest.raises(ConfigError, match=said):
        config(text, tmp_path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        load_record_run(tmp_path / "none.toml", {})


def test_options_override_the_file(tmp_path):
    found = config(UNIT + "epsilon = 2.0\n", tmp_path, **{"records.epsilon": 1.0, "steps": 7})
    assert (found.records.epsilon, found.steps) == (1.0, 7)


def test_the_built_in_example_states_its_unit():
    assert load_record_run(None, {}).records.unit == "record"


def test_records_of_each_client_are_a_silos():
    clients = {0: records(5, 0), 1: records(6, 1)}
    found = silos_from(load_record_run(None, {}), clients, owned=False)
    assert [len(silo.records) for silo in found.values()] == [5, 6]
    assert all(silo.person is None for silo in found.values())


def test_persons_are_dealt_whole_over_silos():
    people = {
        number: Dataset(
            np.full((1 + number % 3, 5), number), np.zeros(1 + number % 3, int), weights=None
        )
        for number in range(20)
    }
    chosen = load_record_run(
        None, {"records.unit": "person", "records.silos": 4, "records.rows": 3}
    )
    found = silos_from(chosen, people, owned=True)
    assert len(found) == 4
    seen: list[float] = []
    for silo in found.values():
        for person in np.unique(silo.person):
            own = silo.records.features[silo.person == person]
            assert len(np.unique(own)) == 1  # one person's rows, and all of them
            assert len(own) == 1 + int(own[0, 0]) % 3
            seen.append(float(own[0, 0]))
    assert sorted(seen) == list(range(20))


TABLE = {"data.name": "visits.csv", "records.silo": "hospital"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"records.silos": 4}, r"leave out records\.silos"),
        ({"data.clients": 4}, r"leave out data\.clients"),
        ({"data.partition": "iid"}, r"leave out data\.clients and data\.partition"),
        ({"data.group": "ward"}, r"leave out data\.group = 'ward'"),
        ({"data.client": "hospital"}, "is the column of persons, and needs another one"),
        ({"data.client": "patient"}, "data.client = 'patient' names persons. Take unit = 'person'"),
        ({"data.name": "digits"}, "digits is no table of your own"),
    ],
)
def test_what_a_column_of_silos_does_not_go_with_is_refused(changes, said):
    with pytest.raises(ConfigError, match=said):
        data_of(load_record_run(None, TABLE | changes))


def test_a_column_of_silos_is_a_group_of_rows():
    chosen = load_record_run(None, TABLE | {"records.unit": "person", "data.client": "patient"})
    assert data_of(chosen).group == "hospital"
    again = load_record_run(
        None, TABLE | {"data.group": "hospital"}
    )  # as a run's config.toml has it
    assert data_of(again).group == "hospital"


def test_persons_of_a_table_without_their_column_are_refused_before_it_is_read():
    chosen = load_record_run(None, {"records.unit": "person", "data.name": "visits.csv"})
    with pytest.raises(ConfigError, match=r"data\.client is missing: .* of visits\.csv that names"):
        data_of(chosen)


def test_persons_need_their_column():
    chosen = load_record_run(None, {"records.unit": "person"})
    with pytest.raises(ConfigError, match=r"needs data\.client"):
        silos_from(chosen, {0: records(5, 0)}, owned=False)


def test_the_bound_of_private_counts_must_be_declared():
    chosen = load_record_run(None, {})
    silos = silos_from(chosen, {i: records(5, i) for i in range(3)}, owned=False)
    with pytest.raises(ConfigError, match=r"records\.max_units must be declared"):
        plan_of(chosen, silos, public_counts=False)
    assert plan_of(chosen, silos, public_counts=True).privacy.max_units == 5


def test_the_plan_takes_every_setting():
    chosen = load_record_run(
        None,
        {
            "records.max_units": 50,
            "records.rate": 0.2,
            "records.clip": 2.0,
            "records.micro_batch": 8,
            "server.lr": 0.25,
            "server.average_tail": 0.0,
            "server.optimizer": "momentum",
            "secure_sum.kind": "bfv",
        },
    )
    silos = silos_from(chosen, {i: records(5, i) for i in range(3)}, owned=False)
    plan = plan_of(chosen, silos, public_counts=False)
    assert plan.privacy.clip == 2.0
    assert plan.divisor == pytest.approx(0.2 * 50 * 3)
    assert plan.secure_sum.kind == "bfv"
    assert plan.secure_sum.min_survivors(3) == 3
    assert plan.server_optimizer == FedMomentum(lr=0.25, momentum=0.8)
    assert plan.micro_batch == 8


def test_what_the_plan_refuses_is_refused_here_too():
    chosen = load_record_run(None, {"records.local_steps": 2, "records.local_lr": 0.1})
    silos = silos_from(chosen, {i: records(5, i) for i in range(3)}, owned=False)
    with pytest.raises(PlanError, match="takes one gradient a sum"):
        plan_of(chosen, silos, public_counts=True)


def test_fixed_features_are_named_with_their_options(tmp_path):
    text = UNIT + '[model]\nfeatures = "scattering"\nfeature_options = { scales = 1, groups = 9 }\n'
    found = config(text, tmp_path)
    silos = {i: Silo(Dataset(np.zeros((9, 64)), np.zeros(9, int))) for i in range(4)}
    plan = plan_of(found, silos, public_counts=True)
    assert plan.features == Scattering(scales=1, groups=9)
    assert plan_of(config(UNIT, tmp_path), silos, public_counts=True).features is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'features = "scatering"',
            "features: there is no 'scatering'; there are .*Do you mean 'scattering'",
        ),
        ('features = "scattering"\nfeature_options = { scale = 1 }', "has no option scale"),
        ("feature_options = { scales = 1 }", "needs model.features"),
    ],
)
def test_features_that_there_are_not_are_refused(text, said, tmp_path):
    found = config(f"{UNIT}[model]\n{text}\n", tmp_path)
    with pytest.raises(ConfigError, match=said):
        _ = found.model.fixed
