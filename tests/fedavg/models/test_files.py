"""Starting from a model file, freezing, beginning anew: what fits, what is refused, and by which name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fedavg.errors import ConfigError, DataError, LocalProtocolError
from fedavg.models.files import freeze, matching, model_bytes, read_tensors, rest_digest, start
from fedavg.models.layout import Layout
from fedavg.models.spec import ModelSpec
from fedavg.models.zoo import build_model, count_parameters

NAMES = [f"layers.{layer}.{part}" for layer in range(3) for part in ("weight", "bias")]


def saved(tmp_path, model, name="model.safetensors"):
    path = tmp_path / name
    layout = Layout.of(model)
    path.write_bytes(model_bytes(model, layout, layout.flatten(model)))
    return path


def spec(file, **changes):
    return ModelSpec("mlp", (6,), 3, seed=9, hidden=(5, 4), file=str(file), **changes)


def mlp(classes=3, seed=1):
    return build_model("mlp", (6,), classes, seed=seed, hidden=(5, 4))


def test_patterns_choose_names_and_what_matches_nothing_names_its_neighbours():
    assert matching(["layers.0.*"], NAMES, "x") == {"layers.0.weight", "layers.0.bias"}
    assert matching(["*.bias", "layers.?.bias"], NAMES, "x") == {n for n in NAMES if "bias" in n}
    assert matching([], NAMES, "x") == frozenset()
    with pytest.raises(
        ConfigError, match=r"model.freeze: no tensor is called 'layer.0.weight'"
    ) as no:
        matching(["layers.0.*", "layer.0.weight"], NAMES, "model.freeze")
    assert "near are layers.0.weight" in str(no.value)
    with pytest.raises(ConfigError, match="there are layers.0.bias"):
        matching(["zzyyqqxx"], NAMES, "model.freeze")


def test_a_released_model_is_the_start_of_the_next(tmp_path):
    old = mlp(seed=1)
    new = spec(saved(tmp_path, old)).build()
    assert all(torch.equal(a, b) for a, b in zip(old.parameters(), new.parameters(), strict=True))


def test_another_number_of_classes_needs_a_fresh_head(tmp_path):
    old, path = mlp(classes=8), saved(tmp_path, mlp(classes=8))
    with pytest.raises(
        ConfigError, match=r"layers.2.bias is real \(8,\) there and real \(3,\) here"
    ):
        spec(path).build()
    new = spec(path, fresh=("layers.2.*",)).build()
    begun = build_model("mlp", (6,), 3, seed=9, hidden=(5, 4))
    for name, part in new.named_parameters():
        expected = begun if name.startswith("layers.2") else old
        assert torch.equal(part, expected.get_parameter(name))


def test_tensors_that_are_missing_or_too_many_are_named(tmp_path):
    deeper = build_model("mlp", (6,), 3, seed=1, hidden=(5, 4, 4))
    with pytest.raises(ConfigError, match=r"the model has no layers.3.bias, layers.3.weight") as no:
        spec(saved(tmp_path, deeper)).build()
    assert "layers.2.weight is real (4, 4) there" in str(no.value)
    spec(tmp_path / "model.safetensors", fresh=("layers.2.*", "layers.3.*")).build()
    shallow = build_model("mlp", (6,), 4, seed=1, hidden=(5,))
    with pytest.raises(ConfigError, match=r"it lacks layers.2.bias, layers.2.weight"):
        spec(saved(tmp_path, shallow)).build()
    with pytest.raises(ConfigError, match="model.fresh: no tensor is called 'head'"):
        spec(tmp_path / "model.safetensors", fresh=("layers.*", "head")).build()


def test_a_misfit_writes_nothing():
    model, before = mlp(), [part.clone() for part in mlp().parameters()]
    tensors = dict(mlp(seed=2).named_parameters())
    tensors["layers.2.bias"] = torch.zeros(9)
    with pytest.raises(ConfigError):
        start(model, tensors, (), "x")
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_integers_for_reals_are_refused():
    tensors = dict(mlp().named_parameters()) | {"layers.0.bias": torch.zeros(5, dtype=torch.int32)}
    with pytest.raises(ConfigError, match=r"layers.0.bias is int32 \(5,\) there and real"):
        start(mlp(), tensors, (), "x")


def test_fresh_without_a_file_is_a_mistake():
    with pytest.raises(ConfigError, match="model.fresh needs model.file"):
        ModelSpec("mlp", (6,), 3, fresh=("layers.1.*",)).build()


def test_a_file_that_changed_is_refused(tmp_path):
    path = saved(tmp_path, mlp(seed=1))
    held = spec(path)
    assert held.digest == spec(path).digest
    held.build()
    saved(tmp_path, mlp(seed=2))
    with pytest.raises(DataError, match="has changed since the run was set up"):
        held.build()
    assert spec(path).digest != held.digest


def test_files_that_hold_no_model_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.raises(DataError, match="cannot read the model file"):
        spec(path)
    torch.save({"weight": torch.zeros(2)}, path)  # a pickle
    with pytest.raises(DataError, match="no safetensors file"):
        spec(path).build()
    broken = mlp()
    with torch.no_grad():
        broken.get_parameter("layers.1.bias")[0] = float("nan")
    with pytest.raises(DataError, match="layers.1.bias holds NaN"):
        read_tensors(saved(tmp_path, broken))


def test_frozen_layers_stay_out_of_the_vector_and_in_the_file(tmp_path):
    model = spec(saved(tmp_path, mlp()), freeze=("layers.0.*", "layers.1.*")).build()
    layout = Layout.of(model)
    assert layout.names == ("layers.2.weight", "layers.2.bias")
    assert layout.size == count_parameters(model) == 15
    tensors = read_tensors(saved(tmp_path, model))
    assert tensors.keys() == set(NAMES)
    new = build_model("mlp", (6,), 3, seed=0, hidden=(5, 4))
    new.load_state_dict(tensors)
    assert all(torch.equal(a, b) for a, b in zip(new.parameters(), model.parameters(), strict=True))


def test_the_file_holds_the_vector_given_and_the_buffers():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model.register_buffer("mask", torch.ones(2))
    model.register_buffer("scratch", torch.ones(3), persistent=False)
    freeze(model, ["0.*"])
    layout = Layout.of(model)
    data = model_bytes(model, layout, np.array([1.0, 2.0, 3.0]))
    assert data == model_bytes(model, layout, np.array([1.0, 2.0, 3.0]))
    from safetensors.torch import load

    tensors = load(data)
    assert tensors.keys() == {"0.weight", "0.bias", "1.weight", "1.bias", "mask"}
    assert tensors["1.weight"].tolist() == [[1.0, 2.0]]
    assert torch.equal(tensors["0.weight"], model[0].weight)
    with pytest.raises(LocalProtocolError, match="does not fill"):
        model_bytes(model, layout, np.zeros(2))


def test_tied_tensors_are_written_once():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    model[1].weight = model[0].weight
    layout = Layout.of(model)
    from safetensors.torch import load

    assert load(model_bytes(model, layout, np.zeros(4))).keys() == {"0.weight"}


def test_the_frozen_parts_digest_follows_its_weights_only(tmp_path):
    assert rest_digest(mlp()) == ""
    path, kept = saved(tmp_path, mlp()), ("layers.0.*",)
    one, trained = (spec(path, freeze=kept).build() for _ in range(2))
    with torch.no_grad():
        trained.get_parameter("layers.2.bias").add_(1)
    assert rest_digest(one) == rest_digest(trained) != ""
    with torch.no_grad():
        trained.get_parameter("layers.0.bias")[0] += 1
    assert rest_digest(one) != rest_digest(trained)
