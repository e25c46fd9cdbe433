"""What is amiss at the end of a run, in words: lost rounds, a headline without a value, a model of no use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fedavg.metrics.interface import Figure

__all__ = ["lost_rounds", "of_no_use", "why_unscored"]

_LISTED = 6
_FOR_NUMBERS = " For numbers to predict, try a tenth of the learning rate first."


def lost_rounds(skipped: Sequence[int], rounds: int, *, private: bool) -> str:
    """The rounds that had no sum, as a sentence; "" if there is none.

    Args:
        skipped: their numbers.
        rounds: number of finished rounds.
        private: whether noise is added, so that such a round released noise alone.

    Example:
        >>> lost_rounds([2, 5], 7, private=False)
        '2 of 7 rounds had no sum, and gave no model: rounds 2 and 5.'
    """
    if not skipped:
        return ""
    gave = "released noise alone" if private else "gave no model"
    *others, last = (str(number) for number in skipped)
    which = ""
    if len(skipped) <= _LISTED:
        which = (
            f": round{'s' if others else ''} {', '.join(others)}{' and ' if others else ''}{last}"
        )
    says = f"{len(skipped)} of {rounds} rounds had no sum, and {gave}{which}."
    if rounds not in skipped:
        return says
    if private:
        return f"{says} The last one is among them, so the model was moved by noise last."
    return f"{says} The last one is among them, so the model is that of an earlier round."


def why_unscored(
    rows: Sequence[Mapping[str, Any]],
    kept: Mapping[str, Any] | None,
    *,
    counted: str = "round",
    rates: str = "[local] lr, [server] lr",
) -> str | None:
    """Why the headline of the model that a run keeps has no value; None if it has one.

    Args:
        rows: the rounds of `metrics.jsonl`.
        kept: the headline of the model that the run keeps, as in a row; None where nothing is scored.
        counted: what a row is about, and the key of its number: "round" or "step".
        rates: the settings of the learning rates, for people.
    """
    if kept is None or kept["value"] is not None:
        return None
    heads = [row["figures"][0] for row in rows if row.get("figures")]
    good = [
        row[counted]
        for row in rows
        if row.get("figures") and row["figures"][0]["value"] is not None
    ]
    name = kept["name"]
    says = (
        f"the headline {name} has no value for the model that the run keeps; {counted} {good[-1]} was the "
        "last one with a value"
        if good
        else f"the headline {name} had no value in any of {len(heads)} {counted}s"
    )
    if kept["baseline"]["value"] is None:
        return (
            f"{says}. For no prediction is it defined on the held-out rows, like the AUC of "
            "rows of one class, or R² of equal numbers: choose another headline ([evaluation] headline), or "
            "hold out more rows"
        )
    if rows[-1].get("loss") is None:
        return (
            f"{says}. The loss is no number either, so the training has diverged: lower the learning rates "
            f"({rates})"
        )
    return (
        f"{says}, although the loss has one: see what the metric makes of this model's predictions"
    )


def of_no_use(headline: Figure, *, protected: str) -> str:
    """That the released model is no better than a constant prediction, and what to try; "" if it is better.

    Args:
        headline: the first figure of the model that the run keeps.
        protected: what noise protects, in the plural, such as "clients"; "" without noise.

    Example:
        >>> from fedavg.metrics.interface import Baseline, Figure
        >>> worse = Figure("rmse", 2.5, Baseline("mean", 2.0), False, False)
        >>> of_no_use(worse, protected="").split(". ")[0]
        'The model is no better than always predicting the mean (rmse 2.5 against 2)'
    """
    if headline.beats_baseline is not False:
        return ""
    reached, trivial = headline.text(headline.value), headline.text(headline.baseline.value)
    says = (
        f"The model is no better than always predicting the {headline.baseline.rule} "
        f"({headline.name} {reached} against {trivial})"
    )
    if headline.share and headline.greater_is_better and headline.baseline.value == 1:
        return (
            f"{says}, and nothing can be: all held-out rows have one label. See whether the target is the "
            "right column, and whether its classes are as declared."
        )
    if protected:
        return (
            f"{says}. See first what `fedavg run --noise none` reaches on these rows. If that is better, the "
            f"noise is too strong for them: more {protected}, a larger epsilon or fewer parameters help. The "
            "training may also be too short, its steps too long ([server] lr), or bounds much wider than the "
            f"values.{'' if headline.share else _FOR_NUMBERS}"
        )
    # Shares are of decisions: a model may rank rows of a rare class well, and never decide for it.
    ranks = (
        " Where one class is rare, a model may rank examples well and still always say the common one: the "
        "report has the AUC, and --headline roc_auc judges by it."
        if headline.share
        else ""
    )
    return (
        f"{says}. Try more rounds or other learning rates ([local] lr, [server] lr), and see whether what "
        f"the model reads tells anything about what is predicted.{ranks}"
    )
