"""A client's requirements on a session before it joins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from secagg.errors import UnsafeParametersError
from secagg.guards.checks import boolean, number, whole
from secagg.params.derivation import rounded_up

if TYPE_CHECKING:
    from secagg.crypto.keys import Directory
    from secagg.params.params import Params

__all__ = ["Policy"]


@dataclass(frozen=True, slots=True)
class Policy:
    """A client's own requirements; `Params` already refuses what is unsafe under its stated rates.

    The server draws the cohort, and nobody can check the draw. From a directory of a thousand clients it may
    choose one client and those that collude with it.  `directory_corrupt_rate` and `min_directory_share`
    bound what it gains by that, for any draw.  With the defaults a cohort is a large part of the directory.
    Small cohorts out of a large directory need lower values, by the client's own choice: see
    docs/protocol.md, "Who draws the cohort".

    Args:
        min_survivors: smallest number of inputs in a sum that contains this client's.
        min_corrupt_rate: smallest share of colluders that the parameters must tolerate.
        max_clients: largest cohort to work for.
        directory_corrupt_rate: share of the directory's clients that may collude with the server. The server
            may draw them all into one cohort, so parameters that tolerate fewer are refused.
        min_directory_share: smallest share of the directory's clients whose inputs every sum must contain.
        allow_semi_honest: whether to join sessions whose parameters do not resist a lying server.
        allow_local: whether to join sessions in which a lying server may learn several sums, each over at
            least the parameters' `min_survivors`.

    Raises:
        UnsafeParametersError: a requirement protects nobody, or a share is out of range.
        LocalProtocolError: a value has another type.

    Example:
        >>> sampled = Policy(directory_corrupt_rate=0.001, min_directory_share=0.01)
        >>> sampled.min_survivors
        3
    """

    min_survivors: int = 3
    min_corrupt_rate: float = 0.0
    max_clients: int = 10_000
    directory_corrupt_rate: float = 0.1
    min_directory_share: float = 0.2
    allow_semi_honest: bool = False
    allow_local: bool = False

    def __post_init__(self) -> None:
        for field in ("min_survivors", "max_clients"):
            object.__setattr__(self, field, whole(field, getattr(self, field)))
        for field in ("allow_semi_honest", "allow_local"):
            object.__setattr__(self, field, boolean(field, getattr(self, field)))
        for field in ("min_corrupt_rate", "directory_corrupt_rate", "min_directory_share"):
            share = number(field, getattr(self, field))
            if not 0 <= share < 1:
                raise UnsafeParametersError(f"{field} must lie in [0, 1), not {share!r}")
            object.__setattr__(self, field, share)
        if self.min_survivors < 3:
            raise UnsafeParametersError("a sum of fewer than three inputs shows one to another")
        if self.max_clients < self.min_survivors:
            raise UnsafeParametersError(
                f"no sum of {self.min_survivors} is among at most {self.max_clients} clients"
            )

    def check(self, params: Params, directory: Directory) -> None:
        """Raise UnsafeParametersError when the offer is below a floor."""
        self._check_model(params, directory)
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
        if directory.pinned:  # otherwise it knows nobody to compare with
            self._check_draw(params, len(directory))

    def _check_model(self, params: Params, directory: Directory) -> None:
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

    def _check_draw(self, params: Params, known: int) -> None:
        """Refuse an offer whose cohort the server could have filled with colluders."""
        # The server may draw all corrupt clients of the directory into this cohort.
        corrupt = rounded_up(self.directory_corrupt_rate, known)
        if params.colluders < corrupt:
            raise UnsafeParametersError(
                f"the offer stands {params.colluders} colluders among {params.n_clients} clients. The "
                f"server drew these, and of the {known} that the directory knows {corrupt} may be on its "
                f"side (directory_corrupt_rate={self.directory_corrupt_rate:g}): offer a larger cohort or "
                "corrupt_rate, or accept what the server draws with a lower "
                "Policy(directory_corrupt_rate=...)"
            )
        # However the server draws, a sum then contains at least this part of all clients.
        least = rounded_up(self.min_directory_share, known)
        if params.min_survivors < least:
            raise UnsafeParametersError(
                f"the offer's sums are over {params.min_survivors} inputs or more; of a directory of "
                f"{known} {least} are asked (min_directory_share={self.min_directory_share:g}): offer a "
                "larger cohort, or accept smaller ones with a lower Policy(min_directory_share=...)"
            )
