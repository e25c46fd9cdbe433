"""Tracks whether results of compositions were used, so that no accountant answers with events missing.

`Accountant.compose` returns a new accountant and does not change the old one. In other libraries `compose`
changes the accountant itself, so users may call it as a statement. Here such a call drops the result, and the
old accountant would answer with an ε that is smaller than the cost of the releases. Two rules prevent this:

- an accountant without events does not answer;
- an accountant does not answer once a composition of it was dropped without being asked or composed further.
  What-if questions such as ``run.compose(event).epsilon(delta)`` are asked, so they count as used.

"Dropped" means that Python has freed the object, which CPython does at the end of the statement.  Where the
interpreter itself keeps the last result alive, as an interactive prompt does with the value that it has just
printed, only the first rule is certain to apply.
"""

from __future__ import annotations

from dp.errors import UnassignedCompositionError

__all__ = ["Use"]

_REMEDY = (
    "compose returns a new accountant and changes none: write "
    "accountant = accountant.compose(event, count)"
)


class Use:
    """The use of one accountant.  Only the accountants that were composed from it share this object.

    `asked` says whether it was asked or composed further; `lost` names a composition of it that was dropped.

    Example:
        >>> whole, part = Use(), Use()
        >>> part.comes_from(whole, "GaussianEvent(...)")
        >>> part.dropped()
        >>> whole.ask(empty=False)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        dp.errors.UnassignedCompositionError: this accountant does not count GaussianEvent(...): ...
    """

    __slots__ = ("_origin", "_step", "asked", "lost")

    def __init__(self) -> None:
        self.asked = False
        self.lost: str | None = None
        self._origin: Use | None = None
        self._step = ""

    def comes_from(self, origin: Use, step: str) -> None:
        """Record the accountant from which this one was composed, and the step; the origin counts as used."""
        origin.asked = True
        self._origin, self._step = origin, step

    def ask(self, *, empty: bool) -> None:
        """Record a question, or refuse it.

        Raises:
            UnassignedCompositionError: the accountant has no events, or a composition of it was dropped.
        """
        self.asked = True
        if empty:
            raise UnassignedCompositionError(
                f"nothing has been composed into this accountant, so it has no answer: {_REMEDY}"
            )
        if self.lost is not None:
            raise UnassignedCompositionError(
                f"this accountant does not count {self.lost}: what compose returned for it was never "
                f"used. {_REMEDY}"
            )

    def dropped(self) -> None:
        """Record that the accountant was freed."""
        if not self.asked and self._origin is not None:
            self._origin.lost = self._step
