"""What a client does for its own model: in a round that it takes part in, and after the last one."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING

import numpy as np

from fedavg.algorithms.personal import Ditto, FedRep, FineTune, Score, held_out
from fedavg.client.update import Prepared, prepare
from fedavg.encoding.broadcast import ModelCodec
from fedavg.errors import ConfigError
from fedavg.models.files import matching
from fedavg.models.layout import Layout
from fedavg.training.evaluation import Scoring, evaluate
from fedavg.training.job import TrainingJob
from fedavg.training.loop import local_update

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Mapping

    import torch
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.algorithms.personal import Personalization
    from fedavg.algorithms.state import ClientState
    from fedavg.client.update import Workbench
    from fedavg.data.dataset import Dataset
    from fedavg.metrics.interface import Figure
    from fedavg.protocol.messages import RoundStart

__all__ = ["divided", "prepare_personal", "score_client"]

_MODEL, _HEAD = "personal.model", "personal.head"  # float32, in a client's state


def divided(bench: Workbench, client_id: int, dataset: Dataset) -> tuple[Dataset, Dataset | None]:
    """What a client trains on, and what it keeps for scoring its own model (None for nothing)."""
    personal = bench.resolution.plan.personalization
    if personal is None:
        return dataset, None
    own, held = held_out(len(dataset), personal.test_fraction, (bench.seed, client_id))
    return dataset.subset(own), dataset.subset(held) if len(held) else None


def prepare_personal(
    bench: Workbench, client_id: int, dataset: Dataset, start: RoundStart, state: ClientState
) -> Prepared:
    """Do what `prepare` does, and train what is personal.

    Raises:
        What `prepare` raises.
    """
    personal = bench.resolution.plan.personalization
    if personal is None or isinstance(personal, FineTune):
        return prepare(bench, client_id, dataset, start, state)
    vector = ModelCodec(bench.resolution.plan.download, bench.layout).decode(start.model)
    client = _Client(bench, client_id, dataset, start.round)
    if isinstance(personal, Ditto):
        prepared = prepare(bench, client_id, dataset, start, state)
        kept = {_MODEL: client.drawn(personal, state, vector).astype(np.float32)}
    else:
        head = client.head(personal, state, vector)
        with _standing(bench.model, head):
            prepared = prepare(bench, client_id, dataset, start, state)
        kept = {_HEAD: client.head_layout(personal).flatten(head).astype(np.float32)}
    return Prepared(prepared.encoded, {**prepared.state, **kept})


def score_client(
    bench: Workbench,
    client_id: int,
    own: Dataset,
    held: Dataset,
    vector: NDArray[np.float32],
    state: ClientState,
) -> Score:
    """Score the released model and the client's own one on what it never trained on.

    Args:
        bench: what the clients of this process share.
        client_id: its id.
        own: what it trains on.
        held: what it is scored on.
        vector: float32[d], the released model.
        state: what it kept from its last round.
    """
    personal = bench.resolution.plan.personalization
    if personal is None:
        raise ConfigError("a plan without personalisation scores no clients")
    client = _Client(bench, client_id, own, bench.resolution.num_rounds)
    if isinstance(personal, FedRep):
        head = client.head(personal, state, vector)
        with _standing(bench.model, head):
            own_figure = client_figure(bench, vector, held)
        return _score(client_id, len(held), None, own_figure, trained=True)
    shared = client_figure(bench, vector, held)
    if isinstance(personal, FineTune):
        model = vector + client.trained(personal, vector)
    else:
        model = state.get(_MODEL, vector)
    own_figure = client_figure(bench, model, held)
    trained = isinstance(personal, FineTune) or _MODEL in state
    return _score(client_id, len(held), shared, own_figure, trained=trained)


def client_figure(bench: Workbench, vector: NDArray[np.floating], held: Dataset) -> Figure:
    """The figure by which clients are compared, of a model on one client's own examples."""
    headline = held.kind.suite.by_client
    loss = bench.resolution.plan.local_training.loss
    scoring = Scoring(headline=headline, loss=loss, compute=bench.compute)
    return evaluate(bench.model, bench.layout, vector, held, scoring).headline


def _score(
    client_id: int, examples: int, shared: Figure | None, personal: Figure, *, trained: bool
) -> Score:
    better = personal.greater_is_better
    worst = (
        -math.inf if better else math.inf
    )  # in place of a figure that is not defined: NaN outputs
    return Score(
        client_id,
        examples,
        None if shared is None else worst if shared.value is None else shared.value,
        worst if personal.value is None else personal.value,
        trained,
        personal.name,
        better,
    )


class _Client:
    """One client's examples at one time.

    Args:
        bench: what the clients of this process share.
        client_id: its id.
        dataset: what it trains on.
        round_index: seeds the order of examples.
    """

    def __init__(
        self, bench: Workbench, client_id: int, dataset: Dataset, round_index: int
    ) -> None:
        self._bench, self._dataset, self._round = bench, dataset, round_index
        self._seed = bench.seed + client_id

    def trained(
        self,
        personal: Personalization,
        start: NDArray[np.floating],
        layout: Layout | None = None,
        towards: tuple[NDArray[np.floating], float] | None = None,
    ) -> NDArray[np.float64]:
        """How far the parameters move from `start`."""
        job = TrainingJob(
            self._bench.model,
            layout or self._bench.layout,
            start,
            self._dataset,
            personal.training,
            round_index=self._round,
            num_rounds=self._bench.resolution.num_rounds + 1,  # one more, after the last
            seed=self._seed,
            towards=towards,
            compute=self._bench.compute,
        )
        return local_update(job)

    def drawn(
        self, personal: Ditto, state: ClientState, vector: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Ditto's personal model after this round."""
        own = state.get(_MODEL, vector)
        return own + self.trained(personal, own, towards=(vector, personal.strength))

    def head_layout(self, personal: FedRep) -> Layout:
        """Of the head alone, which the bench's layout leaves out."""
        parameters = dict(self._bench.model.named_parameters())
        names = matching(personal.head, parameters, "personalization.head")
        return Layout.of({name: part for name, part in parameters.items() if name in names})

    def head(
        self, personal: FedRep, state: ClientState, vector: NDArray[np.floating]
    ) -> dict[str, torch.Tensor]:
        """FedRep's head, trained under a body that stands still; the module keeps its initial head."""
        model, layout = self._bench.model, self.head_layout(personal)
        parameters = dict(model.named_parameters())
        initial = {name: parameters[name].detach().clone() for name in layout.names}
        self._bench.layout.load_vector(model, vector)
        begun = state.get(_HEAD, layout.flatten(initial))
        with _standing(model, initial), _only(model, layout.names):
            moved = self.trained(personal, begun, layout)
        return layout.unflatten(begun + moved)


@contextlib.contextmanager
def _standing(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> Generator[None]:
    """Let a module hold these tensors for a while; afterwards it is as it was."""
    parameters = dict(model.named_parameters())
    before = {name: parameters[name].detach().clone() for name in tensors}
    try:
        _write(model, tensors)
        yield
    finally:
        _write(model, before)


def _write(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    parameters = dict(model.named_parameters())
    for name, tensor in tensors.items():
        parameters[name].data.copy_(tensor)


@contextlib.contextmanager
def _only(model: nn.Module, names: Collection[str]) -> Generator[None]:
    """Let these parameters be trained, and no others."""
    before = {name: part.requires_grad for name, part in model.named_parameters()}
    try:
        for name, part in model.named_parameters():
            part.requires_grad = name in names
        yield
    finally:
        for name, part in model.named_parameters():
            part.requires_grad = before[name]
