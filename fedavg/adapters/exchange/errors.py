"""The error of a node that is asked for something it does not give."""

from __future__ import annotations

from fedavg.errors import FedAvgError

__all__ = ["RefusedRequestError"]


class RefusedRequestError(FedAvgError):
    """A server asked a node for something that the node's agreement does not allow.

    The message depends on the request and on the agreement alone, never on data, so that a node may send it
    to the server.

    Example:
        >>> str(RefusedRequestError("round 3 was answered before"))
        'round 3 was answered before'
    """
