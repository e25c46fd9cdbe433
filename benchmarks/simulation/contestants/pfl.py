"""pfl's simulated backend: one process, as it comes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn import functional

from benchmarks.kit.images import read_images
from benchmarks.simulation.modules import accuracy, build
from benchmarks.simulation.task import CLIP, MULTIPLIER

if TYPE_CHECKING:
    from benchmarks.simulation.task import Task
    from benchmarks.simulation.turns import Turns

__all__ = ["play"]


def play(task: Task, turns: Turns) -> None:
    """Run the rounds."""
    os.environ.setdefault("PFL_PYTORCH_DEVICE", "cpu")
    torch.set_num_threads(1)
    from pfl.algorithm.base import NNAlgorithmParams  # noqa: PLC0415 - a peer
    from pfl.algorithm.federated_averaging import FederatedAveraging  # noqa: PLC0415 - a peer
    from pfl.callback.base import TrainingProcessCallback  # noqa: PLC0415 - a peer
    from pfl.hyperparam import NNEvalHyperParams, NNTrainHyperParams  # noqa: PLC0415 - a peer
    from pfl.metrics import Weighted  # noqa: PLC0415 - a peer
    from pfl.model.pytorch import PyTorchModel  # noqa: PLC0415 - a peer

    class Ticks(TrainingProcessCallback):
        def after_central_iteration(
            self,
            aggregate_metrics: Any,  # noqa: ANN401 - a peer's type
            model: Any,  # noqa: ANN401 - a peer's type
            *,
            central_iteration: int,
        ) -> tuple[bool, Any]:
            del model, central_iteration
            turns.tick()
            return False, type(aggregate_metrics)()

    net: Any = build(task.model)
    net.loss = lambda x, y, **_: functional.cross_entropy(net(x), y)
    net.metrics = lambda *_: {"loss": Weighted(0.0, 1)}
    model = PyTorchModel(net, torch.optim.SGD, torch.optim.SGD(net.parameters(), lr=1.0))
    backend = _backend(task)
    turns.tick()
    FederatedAveraging().run(
        algorithm_params=NNAlgorithmParams(
            central_num_iterations=task.rounds,
            evaluation_frequency=10**9,
            train_cohort_size=task.cohort,
            val_cohort_size=0,
        ),
        backend=backend,
        model=model,
        model_train_params=NNTrainHyperParams(
            local_learning_rate=task.lr, local_num_epochs=1, local_batch_size=task.batch
        ),
        model_eval_params=NNEvalHyperParams(local_batch_size=10_000),
        callbacks=[Ticks()],
    )
    turns.end(accuracy(net, *map(torch.from_numpy, read_images(task.data, "test"))))


def _backend(task: Task) -> Any:  # noqa: ANN401 - a peer's type
    from pfl.aggregate.simulate import SimulatedBackend  # noqa: PLC0415 - a peer
    from pfl.aggregate.weighting import (  # noqa: PLC0415 - a peer
        WeightByDatapoints,
        WeightByUser,
    )
    from pfl.data.federated_dataset import FederatedDataset  # noqa: PLC0415 - a peer
    from pfl.data.pytorch import PyTorchTensorDataset  # noqa: PLC0415 - a peer
    from pfl.data.sampling import get_user_sampler  # noqa: PLC0415 - a peer
    from pfl.privacy import (  # noqa: PLC0415 - a peer
        CentrallyAppliedPrivacyMechanism,
        GaussianMechanism,
    )

    images, labels = map(torch.from_numpy, read_images(task.data, "train"))
    shards = task.shards(len(labels))

    def dataset(user: int) -> Any:  # noqa: ANN401 - a peer's type
        chosen = np.random.default_rng().permutation(shards[user])
        return PyTorchTensorDataset((images[chosen], labels[chosen]), user_id=str(user))

    users = list(range(task.clients))
    data = FederatedDataset(dataset, get_user_sampler("random", users))
    private = task.protection == "central-dp"
    post: list[Any] = [WeightByUser() if private else WeightByDatapoints()]
    if private:
        mechanism = GaussianMechanism(CLIP, MULTIPLIER)
        post.append(CentrallyAppliedPrivacyMechanism(mechanism))
    return SimulatedBackend(training_data=data, val_data=data, postprocessors=post)
