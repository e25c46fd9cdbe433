"""An error that names a member of a committee; all others are those of `secagg.errors`."""

from __future__ import annotations

from secagg.errors import RemoteProtocolError

__all__ = ["MemberError"]


class MemberError(RemoteProtocolError):
    """A member of the committee misbehaved; `culprit` is its id among the members, not among the clients.

    Example:
        >>> str(MemberError("signed nothing", 7))
        'signed nothing (culprit: member 7)'
    """

    def __str__(self) -> str:
        return f"{self.args[0]} (culprit: member {self.culprit})"
