"""How the page and the tables of a study name what its cells do."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Observer", "Words"]


@dataclass(frozen=True, slots=True)
class Observer:
    """Somebody towards whom an epsilon is stated.

    Args:
        column: name of the measured value.
        heading: heading of its column, such as "Epsilon, server".
        named: the observer in a sentence.

    Example:
        >>> Observer("epsilon_server", "Epsilon, server", "the server").heading
        'Epsilon, server'
    """

    column: str
    heading: str
    named: str


@dataclass(frozen=True, slots=True)
class Words:
    """The words of one form of configuration.

    Args:
        party, exchange: who sends to the server, and what has one secure sum: a client in a round.
        vector: what it sends.
        count, lost, lost_said: names of the measured numbers of exchanges, and of those without a new model,
            and the latter's word.
        axis: the observer whose epsilon the cells are compared by.
        observers: all observers, in the order of the columns.
        seed: what a seed decides, in sentences.
        draws: what is drawn anew by every cell and has no seed.
        price: what the sum of all epsilons leaves out, in sentences.
        equal_sums: why cells that differ in the secure sum alone differ in their figures.
        central: what the page says if the server adds the noise; "" if there is no such noise.

    Example:
        >>> from fedavg.studies.trials.clients import CLIENTS
        >>> CLIENTS.words.party, CLIENTS.words.axis.column
        ('client', 'epsilon_release')
    """

    party: str
    exchange: str
    vector: str
    count: str
    lost: str
    lost_said: str
    axis: Observer
    observers: tuple[Observer, ...]
    seed: str
    draws: str
    price: str
    equal_sums: str
    central: str = ""
