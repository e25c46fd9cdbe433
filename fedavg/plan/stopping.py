"""Which plans may be stopped, or judged, by held-out rows, and why others may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedavg.errors import PlanError

if TYPE_CHECKING:
    from fedavg.algorithms.personal.interface import Personalization

__all__ = ["check_stopping"]

_NOT_COVERED = (
    "under noise neither early stopping nor the best round is offered: which model is released would then "
    "depend on the held-out rows, which no noise protects, and epsilon would not cover that; choose the "
    "number of rounds beforehand"
)
_NOT_SCORED = (
    "a part of the model stays at the clients, so that the released rest predicts nothing and has no "
    "headline: neither early stopping nor the best round can follow it; choose the number of rounds "
    "beforehand"
)
_OF_ANOTHER_ROUND = (
    "the best round's model is kept, and the clients' own models are trained along with the rounds, so that "
    "they would be those of the last round: keep the last round's model (without `best`), or make own models "
    "after the last round (kind 'finetune')"
)


def check_stopping(personal: Personalization | None, *, private: bool, best: bool) -> None:
    """Refuse to stop or judge a run by its held-out rows where that cannot be right, before any round.

    Args:
        personal: how clients come by models of their own; None for not at all.
        private: whether the plan has noise.
        best: whether the best round's model is kept in place of the last one's.

    Raises:
        PlanError: a plan with noise, without a model that can be scored, or whose clients' own models would
            belong to another round than the model that is kept.
    """
    if private:
        raise PlanError(_NOT_COVERED)
    if personal is not None and personal.head:
        raise PlanError(_NOT_SCORED)
    if personal is not None and personal.in_rounds and best:
        raise PlanError(_OF_ANOTHER_ROUND)
