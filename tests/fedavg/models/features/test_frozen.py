"""A public model file as fixed features."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fedavg.errors import ConfigError, DataError, PlanError
from fedavg.models.features.computed import computed
from fedavg.models.features.frozen import FrozenModel
from fedavg.models.zoo import build_model


@pytest.fixture
def file(tmp_path):
    model = build_model("mlp", (6,), 4, seed=3)
    save_file(model.state_dict(), tmp_path / "public.safetensors")
    return tmp_path / "public.safetensors"


def test_features_are_the_files_outputs_and_nothing_is_trained(file):
    part = FrozenModel("mlp", str(file), 4)
    assert part.shape((6,)) == (4,)
    assert not any(weight.requires_grad for weight in part.module((6,)).parameters())
    rows = np.random.default_rng(0).random((9, 6), dtype=np.float32)
    with torch.no_grad():
        wanted = build_model("mlp", (6,), 4, seed=3)(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(computed(part, rows), wanted, atol=1e-6)


def test_the_plan_holds_the_files_digest(file):
    part = FrozenModel("mlp", str(file), 4)
    assert len(part.digest) == 64
    file.write_bytes(file.read_bytes()[:-4] + b"\x00\x00\x80\x3f")
    with pytest.raises(DataError, match="has changed"):
        part.module((6,))
    assert FrozenModel("mlp", str(file), 4).digest != part.digest


def test_what_does_not_fit_is_refused(file):
    with pytest.raises(PlanError, match="need file"):
        FrozenModel("mlp", "", 4)
    with pytest.raises(DataError, match="cannot read the model file"):
        FrozenModel("mlp", str(file) + ".not", 4)
    with pytest.raises(ConfigError, match="does not fit"):
        FrozenModel("mlp", str(file), 5).shape((6,))
