"""Plan: the one coupling of cohort, encoding, noise, secure sum and accounting.

Nothing here is typed in twice: the sensitivity comes from the encoding, the sampling scheme from the
cohort, the guaranteed shares of noise from the secure sum, and the event that the ledger is charged
with from all three.  What does not add up cannot be constructed, or is refused when the population
and the model are known (`fedavg.plan.resolution.resolve`), before any client is asked.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fedavg.algorithms.scaffold import check_scaffold
from fedavg.encoding.random_k import check_traffic
from fedavg.errors import PlanError
from fedavg.optimizers.schedule import CONSTANT, Schedule
from fedavg.parts import Part
from fedavg.sums.selective.map import UNCOUNTED
from fedavg.sums.selective.sum import Selective

if TYPE_CHECKING:
    from fedavg.algorithms.blocks.deal import Blocks
    from fedavg.algorithms.personal import Personalization
    from fedavg.encoding.broadcast import DownloadFormat
    from fedavg.encoding.fixed_point import Encoding
    from fedavg.encoding.random_k import RandomK
    from fedavg.optimizers.local import LocalTraining
    from fedavg.optimizers.server import AveragedIterates, ServerOptimizer
    from fedavg.parts import Family
    from fedavg.privacy.clipping import AdaptiveClipping
    from fedavg.privacy.noise import Noise
    from fedavg.privacy.sampling import Cohort
    from fedavg.sums.interface import SecureSum

__all__ = ["FAMILY_OF", "Budget", "Plan"]

FAMILY_OF: dict[str, Family] = {
    "cohort": "cohort",
    "encoding": "encoding",
    "noise": "noise",
    "secure_sum": "secure_sum",
    "server_optimizer": "server_optimizer",
    "clipping": "clipping",
    "personalization": "personalization",
    "compression": "stage",
    "blocks": "blocks",
}
"""The fields of a plan that a registered part fills, and the family that it is of."""

_REMEMBERS = (
    "remember earlier cohorts, and in cohorts of fixed size whoever was drawn says something about all "
    "others: no theorem that we know covers both; use PoissonCohort"
)
_RETRIES = 2


class Budget(Part, frozen=True, tag=False):
    """The privacy budget of a run, for whoever sees the released models.

    Args:
        epsilon: bound that no round may pass; infinite to account without a limit.
        delta: the δ at which ε is stated.
    """

    epsilon: float = math.inf
    delta: float = 1e-5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.epsilon > 0:
            raise PlanError(f"epsilon must be positive, not {self.epsilon!r}")
        if not 0 < self.delta < 1:
            raise PlanError(f"delta must lie between 0 and 1, not {self.delta!r}")


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a run does to protect its clients, and how they train.

    Args:
        cohort: who is asked each round.
        encoding: real updates to integers, `FixedPoint` or without noise `Quantised`; its clip is the
            clip norm under DP.
        noise: None for no differential privacy.
        secure_sum: how the integers are added.
        local_training: what a client does with the model.
        server_optimizer: what the server does with the mean update.
        budget: ε and δ.
        averaging: release an average of the iterates instead of the last one (post-processing).
        weighting: "examples" (FedAvg: n_k·Δ with n_k as one more, private, coordinate) or "equal";
            None chooses "equal" under DP, where nothing else is sound, and with SCAFFOLD; else "examples".
        max_examples: public bound on a client's weight, for "examples"; None takes the largest
            client of a simulation.
        max_participations: rounds in which one client sends a masked update at most; None chooses
            three standard deviations above the mean.  It bounds the server's view.  With cohorts of
            fixed size there is none.
        clipping: lets the clip norm follow a quantile of the updates' norms; None keeps it.
        personalization: models of the clients' own (`fedavg.algorithms.personal`); None for none.
        server_schedule: of the server's learning rate over the rounds.
        scaffold: control variates against the drift of local steps (`fedavg.algorithms.scaffold`).
        compression: sends the same few places of every update; None sends all.
        error_feedback: a client keeps what its encoding and the choice of places left out, and adds
            it to its next update.
        download: format of the broadcast model; the server keeps full precision.
        blocks: cuts the model into blocks, of which each client trains and sends one; None for all of it.
        retries: how often a round without a sum is tried again with a new cohort; None chooses 2 without
            noise, and 0 under DP, where it cannot be more.

    Raises:
        PlanError: parts that do not add up.
    """

    cohort: Cohort
    encoding: Encoding
    noise: Noise | None
    secure_sum: SecureSum
    local_training: LocalTraining
    server_optimizer: ServerOptimizer
    budget: Budget = Budget()
    averaging: AveragedIterates | None = None
    weighting: Literal["examples", "equal"] | None = None
    max_examples: int | None = None
    max_participations: int | None = None
    clipping: AdaptiveClipping | None = None
    personalization: Personalization | None = None
    server_schedule: Schedule = CONSTANT
    scaffold: bool = False
    compression: RandomK | None = None
    error_feedback: bool = False
    download: DownloadFormat = "float32"
    blocks: Blocks | None = None
    retries: int | None = None

    def __post_init__(self) -> None:
        if self.noise is None:
            self._check_without_noise()
        else:
            self._check_with_noise()
        if isinstance(self.secure_sum, Selective):
            self._check_selective(self.secure_sum)
        if self.scaffold:
            check_scaffold(self)
        check_traffic(self)
        if self.blocks is not None:
            self._check_blocks()
        for name in ("max_examples", "max_participations"):
            value: int | None = getattr(self, name)
            if value is not None and value < 1:
                raise PlanError(f"{name} must be at least 1, not {value!r}")
        if self.retries is not None and self.retries < 0:
            raise PlanError(f"retries must be 0 or more, not {self.retries!r}")

    def _check_with_noise(self) -> None:
        if self.weighting == "examples":
            raise PlanError(
                "weights by example counts have no bounded sensitivity: under differential privacy "
                "use weighting='equal'"
            )
        if not self.encoding.bounded:
            raise PlanError(
                "under differential privacy encode with FixedPoint and rounding='stochastic': noise is "
                "calibrated against its bound on the rounded norm"
            )
        if not self.cohort.independent:
            self._check_memoryless()
        if self.retries:
            raise PlanError(
                "under differential privacy a round is not tried again: sampling amplifies privacy only for "
                "cohorts that are drawn once, and a draw that is repeated because too few came is another "
                "distribution; a skipped round stays skipped and charged (retries=0)"
            )

    def _check_memoryless(self) -> None:
        """What clients add must not depend on earlier draws: see docs/privacy.md §7."""
        kind = None if self.personalization is None else self.personalization.kind
        if self.scaffold or kind == "fedrep":
            what = "SCAFFOLD's control variates" if self.scaffold else "FedRep's heads"
            raise PlanError(f"{what} {_REMEMBERS}")

    def _check_without_noise(self) -> None:
        if math.isfinite(self.budget.epsilon):
            raise PlanError(
                f"a budget of epsilon={self.budget.epsilon} needs noise: choose one, or drop the budget"
            )
        if self.clipping is not None:
            raise PlanError(
                "adaptive clipping needs noise: without it nothing is clipped, and the counts that it "
                "learns from would be private data in the clear; choose a noise, or drop clipping"
            )
        if self.encoding.bounded:
            raise PlanError(
                "without noise, encode with rounding='nearest' (a range per coordinate), or with "
                "Quantised for stochastic rounding"
            )

    def _check_selective(self, sums: Selective) -> None:
        if self.encoding.rotate:
            raise PlanError(
                "rotation mixes all parameters, so that no coordinate is worth more than another: "
                "encode with rotate=False, or encrypt everything"
            )
        if self.noise is not None and sums.chosen.source == "clients":
            raise PlanError(UNCOUNTED)

    def _check_blocks(self) -> None:
        if self.personalization is not None and self.personalization.kind != "finetune":
            raise PlanError(
                "a client of blocks trains one block a round, and a model of its own would be trained "
                "whole: personalise by fine-tuning after the last round, or drop the blocks"
            )
        if self.compression is not None or self.error_feedback:
            raise PlanError(
                "a block is a part of the model already, another one each round: random-k and error "
                "feedback do not go with blocks (few-bit encodings and downloads do)"
            )
        if self.scaffold:
            raise PlanError(
                "SCAFFOLD's control variates are means over all clients of the whole model, and a client "
                "trains one block: use SCAFFOLD or blocks"
            )
        if self.clipping is not None:
            raise PlanError(
                "adaptive clipping follows the norm of one update of the whole model, and blocks differ "
                "in theirs: give the blocks one clip norm that stays"
            )
        if isinstance(self.secure_sum, Selective):
            raise PlanError(
                "a map of what to encrypt is of the whole model and each client sends one block: "
                "encrypt everything, or drop the blocks"
            )

    @property
    def weighted(self) -> bool:
        """Whether updates are weighted by example counts."""
        return self.noise is None and self.weighting != "equal" and not self.scaffold

    @property
    def retry_limit(self) -> int:
        """Attempts at a round beyond the first."""
        if self.retries is not None:
            return self.retries
        return _RETRIES if self.noise is None else 0

    def sequence(self, round_index: int, attempt: int) -> int:
        """The number of an attempt in the order of the run, from 0."""
        return round_index * (1 + self.retry_limit) + attempt

    @property
    def keeps_state(self) -> bool:
        """Whether clients keep something from round to round."""
        return self.scaffold or self.error_feedback
