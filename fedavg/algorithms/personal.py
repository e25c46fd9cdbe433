"""Models of the clients' own: how they come from the shared one, and how both are scored, client by client.

What is personal is trained at the client, kept by the client, and never part of what it sends; so it costs
no privacy, and no budget counts it.  The scores are the clients' private data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import msgspec
import numpy as np

from fedavg import checks
from fedavg.errors import ConfigError
from fedavg.optimizers.local import LocalTraining
from fedavg.parts import Part, Trait, register, traits_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


__all__ = [
    "Ditto",
    "FedRep",
    "FineTune",
    "Personalization",
    "Score",
    "held_out",
    "summary_of",
]


def _check_fraction(fraction: float) -> None:
    checks.config.proper_fraction("personalization.test_fraction", fraction)


@register("personalization")
class FineTune(Part, frozen=True, tag="finetune"):
    """After the last round, each client trains the released model on its own examples.

    Args:
        training: how.
        test_fraction: share of its own examples that a client never trains on, and is scored on.

    Raises:
        ConfigError: a fraction outside (0, 1).
    """

    training: LocalTraining
    test_fraction: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fraction(self.test_fraction)

    @property
    def kind(self) -> str:
        """Its name in configurations."""
        return "finetune"

    @property
    def head(self) -> tuple[str, ...]:
        """Patterns of what stays at the client: nothing."""
        return ()


@register("personalization")
class Ditto(Part, frozen=True, tag="ditto"):
    """A personal model beside the shared one, drawn to it (Li et al. 2021, Algorithm 1).

    It begins as the first model that the client is sent, and is trained each time that the client takes part.
    The proximal term strength/2·‖v − w‖² is taken as its exact step, which is stable for every strength.

    Args:
        training: of the personal model.
        strength: λ ≥ 0; 0 trains alone, and the larger it is, the nearer the personal model stays.
        test_fraction: see `FineTune`.

    Raises:
        ConfigError: a strength that is negative or no number, a fraction outside (0, 1), or a training by a
            loop of its own, which no pull reaches.
    """

    training: LocalTraining
    strength: float = 0.1
    test_fraction: float = 0.2

    @property
    def traits(self) -> frozenset[Trait]:
        """It trains a model of the client's own beside the shared one."""
        return frozenset({Trait.OWN_MODEL})

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fraction(self.test_fraction)
        checks.config.at_least("personalization.strength", self.strength, 0)
        if self.strength and Trait.OWN_LOOP in traits_of(self.training):
            raise ConfigError(
                "Ditto draws the personal model to the shared one in each step, and a client loop of your "
                "own takes its steps itself: train the personal model without the loop, fine-tune after the "
                "last round, or train it alone (strength 0)"
            )

    @property
    def kind(self) -> str:
        """Its name in configurations."""
        return "ditto"

    @property
    def head(self) -> tuple[str, ...]:
        """Patterns of what stays at the client: no part of the shared model."""
        return ()


@register("personalization")
class FedRep(Part, frozen=True, tag="fedrep"):
    """Some layers stay at each client, the others are averaged (Collins et al. 2021, Algorithm 1).

    In a round, a client trains its head under the body that it was sent, then the body under that head, and
    sends the change of the body.  There is no shared head, and so no shared model to score.

    Args:
        training: of the head.
        head: patterns of the parameters that stay, such as ("layers.1.*",).
        test_fraction: see `FineTune`.

    Raises:
        ConfigError: no pattern, or a fraction outside (0, 1).
    """

    training: LocalTraining
    head: tuple[str, ...]
    test_fraction: float = 0.2

    @property
    def traits(self) -> frozenset[Trait]:
        """It keeps a head at each client from round to round."""
        return frozenset({Trait.OWN_MODEL, Trait.REMEMBERS_ROUNDS})

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_fraction(self.test_fraction)
        if isinstance(self.head, str) or not self.head:
            raise ConfigError(
                "personalization.head must list patterns of the parameters that stay at the clients, "
                "such as ['layers.1.*']"
            )
        msgspec.structs.force_setattr(
            self, "head", tuple(self.head)
        )  # plans come back from bytes with lists

    @property
    def kind(self) -> str:
        """Its name in configurations."""
        return "fedrep"


Personalization: TypeAlias = FineTune | Ditto | FedRep


@dataclass(frozen=True, slots=True)
class Score:
    """One client's figures on examples that it never trained on; private to it, and covered by no epsilon.

    Args:
        client: its id.
        examples: so many.
        shared: of the released model; None where there is no such model.
        personal: of its own model.
        trained: whether that is its own: a client that was never in a round of Ditto has the released one.
        figure: what `shared` and `personal` are: "accuracy" of classes and labels, "rmse" of numbers.
        greater_is_better: whether a larger figure is a better one.
    """

    client: int
    examples: int
    shared: float | None
    personal: float
    trained: bool
    figure: str = "accuracy"
    greater_is_better: bool = True


def held_out(
    count: int, fraction: float, seed: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split one client's examples by a public rule.

    Args:
        count: its examples.
        fraction: share to keep for scoring: at least one example where there are two, never all.
        seed: public.

    Returns:
        int64 indices to train on, and to score on (none of a single example).

    Example:
        >>> [len(part) for part in held_out(10, 0.2, (0, 7))], len(held_out(1, 0.2, (0, 7))[1])
        ([8, 2], 0)
    """
    order = np.random.default_rng(seed).permutation(count)  # noqa: TID251 - public seed
    held = min(max(round(fraction * count), 1), count - 1)
    return np.sort(order[held:]), np.sort(order[:held])


def summary_of(kind: str, scores: Sequence[Score]) -> dict[str, object]:
    """What may stand in the operator's summary: no client's figure but the worst one's.

    Args:
        kind: of personalisation.
        scores: of all clients that hold an example to score on.
    """
    shared = [score.shared for score in scores if score.shared is not None]
    personal = [score.personal for score in scores]
    sign = 1 if all(score.greater_is_better for score in scores) else -1
    gains = [sign * (s.personal - s.shared) for s in scores if s.shared is not None]
    return {
        "kind": kind,
        "figure": scores[0].figure if scores else "accuracy",
        "clients": len(scores),
        "untrained": sum(not score.trained for score in scores),
        "shared": _spread(shared, sign),
        "personal": _spread(personal, sign),
        "better": sum(gain > 0 for gain in gains),
        "worse": sum(gain < 0 for gain in gains),
    }


def _spread(values: Sequence[float], sign: int) -> dict[str, float] | None:
    if not values:
        return None
    low, middle, high = (float(q) for q in np.quantile(values, (0.1, 0.5, 0.9)))
    return {
        "mean": float(np.mean(values)),
        "worst": min(values, key=lambda value: sign * value),
        "q10": low,
        "median": middle,
        "q90": high,
    }
