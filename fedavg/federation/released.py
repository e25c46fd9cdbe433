"""The model that a federation releases, with its figures and predictions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from fedavg.federation.scoring import Scorer, with_parameters
from fedavg.models.files import model_bytes
from fedavg.models.spec import ModelSpec
from fedavg.server.model import GlobalModel
from fedavg.training.evaluation import Scoring
from fedavg.training.setup import set_up

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import nn

    from fedavg.federation.scoring import Held
    from fedavg.metrics.interface import Predictions
    from fedavg.plan.plan import Plan
    from fedavg.training.compute import Compute
    from fedavg.training.evaluation import Evaluation

__all__ = ["Released"]


class Released:
    """A global model with its scorer; `fedavg.Federation` moves it round by round.

    Args:
        model: a module, which is not changed, or a `ModelSpec`.
        plan: the plan of its training.
        evaluate: held-out examples or a scoring function, see `fedavg.federation.scoring.Scorer`.
        scoring: metrics and headline; None takes those that fit the labels.
        compute: device and precision.
    """

    def __init__(
        self,
        model: nn.Module | ModelSpec,
        plan: Plan,
        evaluate: Held | None,
        scoring: Scoring | None,
        compute: Compute,
    ) -> None:
        built = model.build() if isinstance(model, ModelSpec) else model
        head = () if plan.personalization is None else plan.personalization.head
        self._model, self.layout, self._kept = set_up(built, head)
        self._compute = compute
        chosen = replace(scoring or Scoring(), loss=plan.local_training.loss, compute=compute)
        self._unit = chosen.unit
        # A model whose head stays at the clients predicts nothing without it, so it is not scored.
        apart = bool(self._kept)
        self._scorer = Scorer(self._model, self.layout, evaluate, apart=apart, scoring=chosen)
        self._global = GlobalModel(plan, self.layout.flatten(self._model), self.layout)

    @property
    def released(self) -> NDArray[np.float64]:
        """float64[d]: the model that was released last."""
        return self._global.released

    @property
    def headline(self) -> str:
        """The name of the headline; "" where no examples are held out."""
        return self._scorer.headline

    @property
    def scores_models(self) -> bool:
        """Whether each released model is scored."""
        return self._scorer.scores

    def model(self, vector: NDArray[np.float64] | None = None) -> nn.Module:
        """A copy of the module with the released parameters; your own module does not change.

        If a head stays at the clients, the copy has the head's initial values.

        Args:
            vector: float64[d], parameters of another model; None takes the released one.
        """
        return with_parameters(self._model, self.layout, self._chosen(vector))

    def evaluation(self, vector: NDArray[np.float64] | None = None) -> Evaluation | None:
        """All figures that fit the labels; None without an evaluation set.

        Args:
            vector: float64[d]; None takes the released one.
        """
        return self._scorer.fully(self._chosen(vector))

    def predictions(self, vector: NDArray[np.float64] | None = None) -> Predictions | None:
        """Predictions for each held-out example, which are as private as the examples; None without them.

        Args:
            vector: float64[d]; None takes the released one.
        """
        return self._scorer.predictions(self._chosen(vector))

    def client_evaluations(self) -> dict[int, Evaluation]:
        """Each client's figures of the released model, if `evaluate` gave examples by client; else {}.

        They are private to the clients, and no epsilon covers them.
        """
        return self._scorer.by_client(self.released)

    def model_file(self, vector: NDArray[np.float64] | None = None) -> bytes:
        """A model as a complete safetensors file, from which any run may start.

        Parameters that stay at the clients are left out, and the file's metadata names them.

        Args:
            vector: float64[d]; None takes the released one.
        """
        return model_bytes(self._model, self.layout, self._chosen(vector), self._kept)

    def _chosen(self, vector: NDArray[np.float64] | None) -> NDArray[np.float64]:
        return self.released if vector is None else vector
