"""Federated statistics: counts, moments, histograms, quantiles, tables and correlations over silos.

`summarise` is the door.  A silo's rows leave it only inside a secure sum, exact (`exact`) or with the silo's
share of the noise on them (`noise`).
"""

from __future__ import annotations

from fedavg.statistics.noise.budget import PrivacyBudget
from fedavg.statistics.question import Person, Question, Record, Unit
from fedavg.statistics.silos import SiloRows, Silos, Variable, read_silos
from fedavg.statistics.summarise import summarise
from fedavg.statistics.summary import Figure, Summary

__all__ = [
    "Figure",
    "Person",
    "PrivacyBudget",
    "Question",
    "Record",
    "SiloRows",
    "Silos",
    "Summary",
    "Unit",
    "Variable",
    "read_silos",
    "summarise",
]
