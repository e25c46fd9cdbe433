"""Errors of the orchestrator: one root class, and one class for each kind of failure."""

from __future__ import annotations

__all__ = [
    "CapacityError",
    "CheckpointError",
    "CohortSizeError",
    "ConfigError",
    "DataError",
    "FedAvgError",
    "GridError",
    "JournalError",
    "LocalProtocolError",
    "MissingExtraError",
    "NonFiniteError",
    "PlanError",
    "ReportError",
    "RoundAbortedError",
    "SchemaError",
    "WireFormatError",
]


class FedAvgError(Exception):
    """Base class of every error that the orchestrator raises on purpose."""


class CheckpointError(FedAvgError):
    """A run cannot be resumed: its files are damaged, are another plan's, or show too little epsilon."""


class ConfigError(FedAvgError):
    """A configuration is invalid; the message names the key and the remedy."""


class DataError(FedAvgError):
    """Data is missing, malformed, or too small for the request."""


class MissingExtraError(FedAvgError):
    """A package that an optional feature needs is not installed; the message says how to get it."""


class SchemaError(DataError, ValueError):
    """A description of columns contradicts itself; it is a ValueError so that msgspec adds the key."""


class PlanError(FedAvgError):
    """The parts of a plan (cohort, encoding, noise, sum, accounting) do not fit together."""


class CohortSizeError(PlanError):
    """The cohorts are too small for a sound plan; the message says which rate or population suffices."""


class GridError(PlanError):
    """The noise cannot be drawn on the encoding's grid.

    Args:
        message: names the strength of the noise and the remedy.
        finer: whether a finer grid, one of more bits, may help; otherwise a coarser one may.
    """

    def __init__(self, message: str, *, finer: bool) -> None:
        super().__init__(message)
        self.finer = finer


class CapacityError(FedAvgError):
    """A value or a sum does not fit the integers of the encoding."""


class NonFiniteError(FedAvgError):
    """A number is NaN or infinite."""


class JournalError(FedAvgError):
    """A journal is unusable: it is damaged, was replaced, or is on a disk that refuses to write."""


class LocalProtocolError(FedAvgError):
    """The caller used an object at the wrong time or twice."""


class RoundAbortedError(FedAvgError):
    """A round ended without an aggregate, and the model did not change.

    No update was revealed. A committee that was asked to open a sum may have shown that sum to the server.
    """


class ReportError(FedAvgError):
    """A folder is not a run directory, or is too damaged for a report."""


class WireFormatError(FedAvgError):
    """Bytes are not a valid message."""
