"""Errors of the orchestrator: one root, each class an address for one kind of trouble."""

from __future__ import annotations

__all__ = [
    "CapacityError",
    "CheckpointError",
    "CohortSizeError",
    "ConfigError",
    "DataError",
    "FedAvgError",
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
    """Root of every error that the orchestrator raises on purpose."""


class CheckpointError(FedAvgError):
    """A run that cannot go on: its files are damaged, belong to another plan, or show too little spent."""


class ConfigError(FedAvgError):
    """A configuration that cannot be understood; the message names the key and the remedy."""


class DataError(FedAvgError):
    """Data that is missing, malformed, or too small for what was asked."""


class MissingExtraError(FedAvgError):
    """A package that an optional feature needs is not installed; the message says how to get it."""


class SchemaError(DataError, ValueError):
    """A description of columns that contradicts itself; a ValueError too, so that msgspec adds the key."""


class PlanError(FedAvgError):
    """Parts that do not add up to one sound plan: cohort, encoding, noise, sum, accounting."""


class CohortSizeError(PlanError):
    """Cohorts too small for a plan to be sound; the message says which rate or how many clients suffice."""


class CapacityError(FedAvgError):
    """A value or a sum that the chosen integers cannot hold."""


class NonFiniteError(FedAvgError):
    """NaN or infinity where a number was needed."""


class JournalError(FedAvgError):
    """A journal of facts that cannot be kept: damaged, replaced, or on a disk that refuses to write."""


class LocalProtocolError(FedAvgError):
    """The caller used an object at the wrong time or twice."""


class RoundAbortedError(FedAvgError):
    """A round ended without an aggregate; nothing was revealed and nothing was applied."""


class ReportError(FedAvgError):
    """A folder that is no run directory, or one too damaged to report on."""


class WireFormatError(FedAvgError):
    """Bytes that are no message."""
