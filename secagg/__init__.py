"""Pairwise-mask secure aggregation: a protocol without I/O that adds integer vectors exactly.

Read `secagg.simulate` first: it shows the whole protocol on one page.
"""

from __future__ import annotations

from secagg.client.client import Client
from secagg.client.policy import Policy
from secagg.conviction import Conviction, Offence
from secagg.crypto.keys import Directory, Identity, TrustServerDirectory
from secagg.errors import (
    Aborted,
    AbortReason,
    CapacityError,
    InternalError,
    LocalProtocolError,
    RemoteProtocolError,
    SecAggError,
    UnsafeParametersError,
    WireFormatError,
)
from secagg.journal import Journal
from secagg.params.params import Params, Requirements, requirements
from secagg.server.server import Server, SumResult
from secagg.simulate import simulate
from secagg.state import Phase
from secagg.verdicts.evidence import check_conviction
from secagg.wire.codec import input_signature, masked_vector, message_kind

__all__ = [
    "AbortReason",
    "Aborted",
    "CapacityError",
    "Client",
    "Conviction",
    "Directory",
    "Identity",
    "InternalError",
    "Journal",
    "LocalProtocolError",
    "Offence",
    "Params",
    "Phase",
    "Policy",
    "RemoteProtocolError",
    "Requirements",
    "SecAggError",
    "Server",
    "SumResult",
    "TrustServerDirectory",
    "UnsafeParametersError",
    "WireFormatError",
    "check_conviction",
    "input_signature",
    "masked_vector",
    "message_kind",
    "requirements",
    "simulate",
]
