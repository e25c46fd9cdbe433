"""Studies: what a file asks for, which combinations are cells, and what a cell's identity depends on."""

from __future__ import annotations

import itertools
import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedavg.config.build import load_config
from fedavg.errors import ConfigError
from fedavg.runs.files.directory import config_to_toml
from fedavg.studies import identity as module
from fedavg.studies.identity import code_version
from fedavg.studies.study import read_study
from fedavg.studies.trials.settings import flatten


def read(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text)
    return read_study(path)


def test_a_grid_is_every_combination_in_order(tmp_path):
    found = read(
        tmp_path,
        '[base]\nrounds = 3\n[grid]\n"privacy.epsilon" = [1, 2.5]\nseed = [0, 1]\n',
    )
    pairs = [(cell.trial.config.privacy.epsilon, cell.trial.config.seed) for cell in found.cells]
    assert pairs == [(1.0, 0), (1.0, 1), (2.5, 0), (2.5, 1)]
    assert {cell.trial.config.rounds for cell in found.cells} == {3}
    assert {cell.trial.config.simulation.workers for cell in found.cells} == {0}
    assert not any(cell.trial.config.baseline for cell in found.cells)


def test_nested_tables_and_dotted_keys_are_the_same(tmp_path):
    dotted = read(tmp_path, '[grid]\n"local.lr" = [0.5]\n"data.clients" = [100]\n')
    nested = read(tmp_path, "[grid.local]\nlr = [0.5]\n[grid.data]\nclients = [100]\n")
    assert dotted.cells == nested.cells


def test_no_noise_has_one_cell_whatever_the_epsilons(tmp_path):
    found = read(
        tmp_path,
        '[base]\nprivacy.epsilon = 3.0\nclipping.kind = "adaptive"\n'
        '[grid]\n"privacy.noise" = ["gaussian", "none"]\n"privacy.epsilon" = [1, 2]\nseed = [0, 1]\n',
    )
    exact = [cell.trial.config for cell in found.cells if cell.trial.config.privacy.noise == "none"]
    assert [config.seed for config in exact] == [0, 1]
    assert {config.privacy.epsilon for config in exact} == {None}
    assert len(found.cells) == 2 * 2 + 2
    assert not found.refused


def test_what_does_not_add_up_is_refused_with_its_reason_and_the_rest_stays(tmp_path):
    found = read(
        tmp_path,
        '[base]\nprivacy.noise = "none"\n'
        '[[grid]]\n"privacy.epsilon" = [4.0]\nseed = [0, 1]\n[[grid]]\nseed = [2]\n',
    )
    assert [cell.trial.config.seed for cell in found.cells] == [2]
    assert [refusal.settings["seed"] for refusal in found.refused] == [0, 1]
    assert "needs noise" in found.refused[0].reason


def test_several_grids_are_joined_and_their_common_cells_stand_once(tmp_path):
    found = read(
        tmp_path,
        '[[grid]]\nseed = [0, 1]\n[[grid]]\nseed = [1, 2]\n"rounds" = [60]\n',
    )
    assert [cell.trial.config.seed for cell in found.cells] == [0, 1, 2]


def test_exclusions_take_out_what_matches_all_their_keys(tmp_path):
    found = read(
        tmp_path,
        '[grid]\n"privacy.epsilon" = [1, 2]\nseed = [0, 1, 2]\n'
        '[[exclude]]\n"privacy.epsilon" = 2\nseed = [1, 2]\n[[exclude]]\nseed = 0\nrounds = 61\n',
    )
    pairs = [(cell.trial.config.privacy.epsilon, cell.trial.config.seed) for cell in found.cells]
    assert pairs == [(1.0, 0), (1.0, 1), (1.0, 2), (2.0, 0)]
    assert found.excluded == 2


def test_a_base_may_be_a_runs_configuration(tmp_path):
    config = load_config(None, {"rounds": 7, "local.lr": 0.25})
    (tmp_path / "config.toml").write_bytes(config_to_toml(config))
    found = read(tmp_path, 'base = "config.toml"\n[grid]\nseed = [4]\n')
    (cell,) = found.cells
    assert (cell.trial.config.rounds, cell.trial.config.local.lr, cell.trial.config.seed) == (
        7,
        0.25,
        4,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[grid]\n"privacy.epsilom" = [1]\n', "Do you mean 'epsilon'"),
        ('[grid]\n"privaci.epsilon" = [1]\n', "Do you mean 'privacy'"),
        ("[grid]\nroundz = [1]\n", "Do you mean 'rounds'"),
        ("[base]\nlocal.lrr = 0.1\n", "unknown key 'local.lrr'"),
        # Without its table, every key of a study of records would be unknown.
        ("[base]\nsteps = 2\n[base.record]\nunit = 'record'\n", "'record'. Do you mean 'records'?"),
        ('[[exclude]]\n"local.lrr" = 0.1\n', "unknown key 'local.lrr'"),
        ("[gird]\nseed = [1]\n", "Do you mean 'grid'"),
        ('[grid]\n"privacy.noise" = ["gausian"]\n', "privacy.noise"),
        ('[grid]\n"privacy.epsilon" = ["4"]\n', "privacy.epsilon"),
        ('[grid]\n"privacy.epsilon" = 4.0\n', "needs a list"),
        ("[grid]\nseed = []\n", "no values"),
        ("[grid]\nbaseline = [true, false]\n", "leave it out"),
        ('[grid]\n"simulation.workers" = [1, 2]\n', "leave it out"),
        ("[[exclude]]\n", "everything"),
        ("base = 3\n", "base must be"),
        ('base = "nowhere.toml"\n', "nowhere.toml"),
        ("grid = 3\n", "must be a table"),
        ("title = 3\n", "title"),
        ("[grid\n", "no valid TOML"),
        (f"[grid]\nseed = {list(range(200))}\nrounds = {list(range(1, 100))}\n", "19,800"),
        (
            '[base]\nprivacy.noise_multiplier = 1.0\n[grid]\n"privacy.epsilon" = [1, 2]\n',
            "noise_multiplier is set",
        ),
    ],
)
def test_mistakes_in_the_file_are_named_before_anything_runs(tmp_path, text, message):
    with pytest.raises(ConfigError, match="study.toml") as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot read"):
        read_study(tmp_path / "nowhere.toml")


AXES = {
    "privacy.epsilon": [1.0, 2.0],
    "local.lr": [0.5, 0.25],
    "data.alpha": [0.1],
    "rounds": [3, 4],
}


@given(st.permutations(list(AXES)), st.booleans())
@settings(max_examples=20, deadline=None)
def test_identities_do_not_depend_on_the_order_of_keys(tmp_path_factory, order, reverse):
    folder = tmp_path_factory.mktemp("study")
    lines = [
        f'"{key}" = {json.dumps(AXES[key][::-1] if reverse else AXES[key])}\n' for key in order
    ]
    found = read(folder, "[grid]\n" + "".join(lines))
    straight = read(folder, "[grid]\n" + "".join(f'"{k}" = {json.dumps(AXES[k])}\n' for k in AXES))
    assert {cell.id for cell in found.cells} == {cell.id for cell in straight.cells}
    assert len({cell.id for cell in found.cells}) == 8


def test_identities_hold_what_a_result_depends_on_and_nothing_else(tmp_path, monkeypatch):
    def ids(text):
        return {cell.id for cell in read(tmp_path, text).cells}

    one = ids("[grid]\nseed = [1]\n")
    assert one == ids('title = "other"\n[base]\nseed = 1\nrounds = 60\nbaseline = true\n')
    assert one == ids("[base]\nsimulation.workers = 4\n[grid]\nseed = [1]\n")
    assert one != ids("[grid]\nseed = [2]\n")
    assert one != ids("[base]\nsimulation.dropout = 0.2\n[grid]\nseed = [1]\n")
    monkeypatch.setattr(module, "code_version", lambda: "another")
    assert one != ids("[grid]\nseed = [1]\n")


def test_identities_follow_the_data_file_and_the_model_source(tmp_path, monkeypatch):
    data, source = tmp_path / "data.csv", tmp_path / "homemade.py"
    monkeypatch.syspath_prepend(tmp_path)
    text = f'[base]\ndata.name = "{data}"\nmodel.name = "homemade:build"\n[grid]\nseed = [0]\n'
    seen = set()
    for content, code in itertools.product(("a\n1\n", "a\n2\n"), ("build = 1\n", "build = 2\n")):
        data.write_text(content)
        source.write_text(code)
        seen.add(read(tmp_path, text).cells[0].id)
    assert len(seen) == 4


def test_the_code_version_covers_results_and_not_their_presentation(monkeypatch):
    seen = []
    original = module.Path.read_bytes
    monkeypatch.setattr(
        module.Path,
        "read_bytes",
        lambda path: seen.append("/".join(path.parts[-3:])) or original(path),
    )
    assert code_version.__wrapped__() == code_version()
    results = {"federation/federation.py", "privacy/noise.py", "config/build.py"}
    pages = {"cli/app.py", "reports/figures.py", "studies/runner.py", "runs/run.py"}
    assert {f"fedavg/{path}" for path in results} <= set(seen)
    assert any(path.endswith("dp/accounting/calibration.py") for path in seen)
    assert {f"fedavg/{path}" for path in pages}.isdisjoint(seen)


def test_the_built_in_study_has_a_ceiling_and_enough_to_see_a_curve():
    found = read_study(None)
    configs = [cell.trial.config for cell in found.cells]
    assert not found.refused
    assert len({c.seed for c in configs}) >= 3
    assert len({c.privacy.epsilon for c in configs if c.privacy.epsilon}) >= 4
    assert {c.secure_sum.kind for c in configs} >= {"secagg", "insecure-plain"}
    assert len({c.encoding.bits for c in configs if c.privacy.epsilon == 4.0}) == 2
    assert any(c.privacy.noise == "none" for c in configs)


def test_flattened_settings_lie_over_the_default_again():
    config = load_config(None, {"privacy.epsilon": 2.0, "data.bounds": {"age": (0.0, 99.0)}})
    again = load_config(None, {k: v for k, v in flatten(config).items() if v is not None})
    assert msgspec.to_builtins(again) == msgspec.to_builtins(config)
