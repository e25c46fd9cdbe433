"""The client's work for its own model: in a round that it takes part in, and after the last round."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fedavg.algorithms.personal.scores import Score, held_out
from fedavg.client.update import Prepared, prepare
from fedavg.encoding.broadcast import ModelCodec
from fedavg.errors import ConfigError, DataError
from fedavg.metrics.choice import metric_of
from fedavg.models.files import matching
from fedavg.models.layout import Layout
from fedavg.training.evaluation import Scoring, evaluate
from fedavg.training.job import TrainingJob
from fedavg.training.loop import local_update

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Mapping, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.algorithms.state import ClientState
    from fedavg.client.update import ClientContext
    from fedavg.data.dataset import Dataset
    from fedavg.metrics.interface import Figure
    from fedavg.optimizers.local import LocalTraining
    from fedavg.protocol.messages import RoundStart

__all__ = ["divided", "prepare_personal", "score_client"]


def divided(ctx: ClientContext, client_id: int, dataset: Dataset) -> tuple[Dataset, Dataset | None]:
    """Split a client's examples into those to train on and those to score on (None for none)."""
    personal = ctx.resolution.plan.personalization
    if personal is None:
        return dataset, None
    # The seed makes the split the same in every round and in a resumed run.
    own, held = held_out(len(dataset), personal.test_fraction, (ctx.seed, client_id))
    return dataset.subset(own), dataset.subset(held) if len(held) else None


def prepare_personal(
    ctx: ClientContext, client_id: int, dataset: Dataset, start: RoundStart, state: ClientState
) -> Prepared:
    """Do the work of `prepare`, and train the personal parameters.

    Raises:
        Exception: the errors of `prepare`.
    """
    personal = ctx.resolution.plan.personalization
    if personal is None or not personal.in_rounds:
        return prepare(ctx, client_id, dataset, start, state)
    vector = ModelCodec(ctx.resolution.plan.broadcast, ctx.layout).decode(start.model)
    client = _Client(ctx, (client_id, start.round), dataset, vector, state)
    prepared, kept = personal.in_round(
        client, lambda: prepare(ctx, client_id, dataset, start, state)
    )
    # Both halves of the state are committed together, once the update was sent.
    return Prepared(prepared.encoded, {**prepared.state, **kept})


def score_client(
    ctx: ClientContext,
    client_id: int,
    own: Dataset,
    held: Dataset,
    vector: NDArray[np.float32],
    state: ClientState,
) -> tuple[Score, ...]:
    """Score the released model and the client's own model on examples that it never trained on.

    Args:
        ctx: objects that the clients of this process share.
        client_id: id of the client.
        own: examples that it trains on.
        held: examples that it is scored on.
        vector: float32[d], the released model.
        state: state that it kept from its last round.

    Returns:
        A score by a figure that is defined on any examples, and one by the headline if these define it.
    """
    personal = ctx.resolution.plan.personalization
    if personal is None:
        raise ConfigError("a plan without personalisation scores no clients")
    when = (client_id, ctx.resolution.num_rounds)
    client = _Client(ctx, when, own, vector, state, held)
    found = personal.scored(client)
    scores = [_score(client_id, len(held), found.shared, found.own, trained=found.trained)]
    by_headline = client.by_headline(found.own)
    if by_headline is not None and by_headline.baseline.value is not None:
        shared = None if found.shared is None else client.by_headline(found.shared)
        trained = found.trained
        scores.append(_score(client_id, len(held), shared, by_headline, trained=trained))
    return tuple(scores)


def client_figures(
    ctx: ClientContext, vector: NDArray[np.floating], held: Dataset
) -> tuple[Figure, Figure | None]:
    """Figures of a model on one client's own examples: one that is defined on any, and the headline."""
    loss = ctx.resolution.plan.local_training.loss
    centre, scale = ctx.unit
    by_client = metric_of(held.kind.suite.by_client(held.labels, scale))
    more = (ctx.headline,) if _compares(ctx.headline, by_client.name) else ()
    scoring = Scoring(more, by_client, False, centre, scale, loss, ctx.compute)
    try:
        found = evaluate(ctx.model, ctx.layout, vector, held, scoring)
    except DataError:  # the headline does not accept these few examples
        found = evaluate(ctx.model, ctx.layout, vector, held, replace(scoring, metrics=()))
    return found.headline, found.figure(ctx.headline) if more else None


def _compares(headline: str, by_client: str) -> bool:
    """Whether clients may be compared by the headline, beside the figure that is defined on any rows."""
    if headline in ("", by_client):
        return False
    steady: bool = getattr(metric_of(headline), "steady_on_few_rows", True)
    return steady


def _score(
    client_id: int, examples: int, shared: Figure | None, personal: Figure, *, trained: bool
) -> Score:
    better = personal.greater_is_better
    worst = -math.inf if better else math.inf  # in place of what is not defined: NaN outputs
    return Score(
        client_id,
        examples,
        None if shared is None else worst if shared.value is None else shared.value,
        worst if personal.value is None else personal.value,
        trained,
        personal.name,
        better,
        personal.share,
        personal.baseline.rule,
        personal.baseline.value,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Client:
    """One client at one time: see `PersonalClient`.

    Args:
        ctx: objects that the clients of this process share.
        when: the client's id and the index of the round, which seed the order of examples.
        dataset: examples that it trains on.
        sent: [d], the parameters that the server sent.
        kept: state that it kept from an earlier round.
        held: examples that it is scored on, after the last round.
        figures: the figures that were computed, each with that of the same model by the headline.
    """

    ctx: ClientContext
    when: tuple[int, int]
    dataset: Dataset
    sent: NDArray[np.floating]
    kept: ClientState
    held: Dataset | None = None
    figures: list[tuple[Figure, Figure | None]] = field(
        default_factory=list["tuple[Figure, Figure | None]"]
    )

    def trained(
        self,
        training: LocalTraining,
        start: NDArray[np.floating],
        towards: tuple[NDArray[np.floating], float] | None = None,
    ) -> NDArray[np.float64]:
        """See `PersonalClient.trained`."""
        return start + local_update(self._job(training, self.ctx.layout, start, towards))

    def trained_part(
        self, training: LocalTraining, names: Sequence[str], start: NDArray[np.floating] | None
    ) -> NDArray[np.float64]:
        """See `PersonalClient.trained_part`."""
        model, layout = self.ctx.model, self._part_layout(names)
        parameters = dict(model.named_parameters())
        # The module is shared by the clients of a process, so its values are put back afterwards.
        initial = {name: parameters[name].detach().clone() for name in layout.names}
        self.ctx.layout.load_vector(model, self.sent)
        begun = layout.flatten(initial) if start is None else start
        with _standing(model, initial), _only(model, layout.names):
            return begun + local_update(self._job(training, layout, begun, None))

    @contextlib.contextmanager
    def standing(self, names: Sequence[str], vector: NDArray[np.floating]) -> Generator[None]:
        """See `PersonalClient.standing`."""
        with _standing(self.ctx.model, self._part_layout(names).unflatten(vector)):
            yield

    def figure(self, vector: NDArray[np.floating]) -> Figure:
        """See `PersonalClient.figure`."""
        if self.held is None:
            raise ConfigError(
                "a client is scored after the last round, on examples that it held out"
            )
        self.figures.append(client_figures(self.ctx, vector, self.held))
        return self.figures[-1][0]

    def by_headline(self, figure: Figure) -> Figure | None:
        """The headline of the model that has this figure; None if there is none."""
        return next((twin for known, twin in self.figures if known is figure), None)

    def _part_layout(self, patterns: Sequence[str]) -> Layout:
        """Layout of the parameters that stay at the client; the ctx's layout does not contain them."""
        parameters = dict(self.ctx.model.named_parameters())
        names = matching(patterns, parameters, "personalization.head")
        return Layout.of({name: part for name, part in parameters.items() if name in names})

    def _job(
        self,
        training: LocalTraining,
        layout: Layout,
        start: NDArray[np.floating],
        towards: tuple[NDArray[np.floating], float] | None,
    ) -> TrainingJob:
        client_id, round_index = self.when
        return TrainingJob(
            self.ctx.model,
            layout,
            start,
            self.dataset,
            training,
            round_index=round_index,
            num_rounds=self.ctx.resolution.num_rounds
            + 1,  # one extra index, for after the last round
            # All clients share the run's seed, so each adds its id to get an order of its own.
            seed=self.ctx.seed + client_id,
            towards=towards,
            compute=self.ctx.compute,
        )


@contextlib.contextmanager
def _standing(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> Generator[None]:
    """Load these tensors into a module temporarily; afterwards it has its former values."""
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
        # Writing into `data` keeps the parameter objects that the module refers to.
        parameters[name].data.copy_(tensor)


@contextlib.contextmanager
def _only(model: nn.Module, names: Collection[str]) -> Generator[None]:
    """Make these parameters trainable, and no others."""
    before = {name: part.requires_grad for name, part in model.named_parameters()}
    try:
        for name, part in model.named_parameters():
            part.requires_grad = name in names
        yield
    finally:
        for name, part in model.named_parameters():
            part.requires_grad = before[name]
