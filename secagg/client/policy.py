"""What a client insists on before it joins a session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secagg.errors import UnsafeParametersError

if TYPE_CHECKING:
    from secagg.crypto.keys import Directory
    from secagg.params import Params

__all__ = ["Policy"]


@dataclass(frozen=True, slots=True)
class Policy:
    """A client's own floors; `Params` already refuses whatever is unsafe under its stated rates.

    Args:
        min_survivors: fewest inputs of a sum that this client's may hide in.
        min_corrupt_rate: least share of colluders that the parameters must stand.
        max_clients: largest cohort to work for.
        allow_semi_honest: join sessions whose parameters do not resist a lying server.
        allow_local: join sessions in which a lying server may learn several sums, each over at least
            the parameters' `min_survivors`.

    Example:
        >>> Policy(min_survivors=20).min_corrupt_rate
        0.0
    """

    min_survivors: int = 3
    min_corrupt_rate: float = 0.0
    max_clients: int = 10_000
    allow_semi_honest: bool = False
    allow_local: bool = False

    def __post_init__(self) -> None:
        if self.min_survivors < 3:
            raise UnsafeParametersError("a sum of fewer than three inputs shows one to another")

    def check(self, params: Params, directory: Directory) -> None:
        """Raise UnsafeParametersError when the offer is below a floor."""
        if params.threat_model == "semi-honest":
            if not self.allow_semi_honest:
                raise UnsafeParametersError(
                    "the offer does not resist a lying server; "
                    "Policy(allow_semi_honest=True) accepts that"
                )
        elif not directory.pinned:
            raise UnsafeParametersError(
                "nothing resists a server that hands out the identities: give a Directory, or offer "
                "threat_model='semi-honest'"
            )
        if params.local and not self.allow_local:
            raise UnsafeParametersError(
                "the offer promises only that every sum is over some "
                f"{params.min_survivors} of {params.n_clients} clients; "
                "Policy(allow_local=True) accepts that"
            )
        if params.min_survivors < self.min_survivors:
            raise UnsafeParametersError(
                f"sums of {params.min_survivors} inputs are offered, {self.min_survivors} are asked"
            )
        if params.corrupt_rate < self.min_corrupt_rate:
            raise UnsafeParametersError(
                f"corrupt_rate={params.corrupt_rate} is offered, {self.min_corrupt_rate} is asked"
            )
        if params.n_clients > self.max_clients:
            raise UnsafeParametersError(
                f"{params.n_clients} clients are offered, at most {self.max_clients} are accepted"
            )
