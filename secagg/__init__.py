"""Pairwise-mask secure aggregation: a protocol without I/O that adds integer vectors exactly.

Read `secagg.simulate` first: it shows the whole protocol on one page.

Names are imported on first use (PEP 562): a member of a committee loads nothing of the pairwise masks.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

# Loaded at once, since it has the name of its module; it loads the rest when it is called.
from secagg.simulate import simulate

if TYPE_CHECKING:
    from secagg.crypto.keys import Directory, Identity, TrustServerDirectory
    from secagg.errors import (
        Aborted,
        AbortReason,
        CapacityError,
        InternalError,
        LocalProtocolError,
        RemoteProtocolError,
        SecAggError,
        StateError,
        UnsafeParametersError,
        WireFormatError,
    )
    from secagg.errors.conviction import Conviction, Offence
    from secagg.guards.journal import Journal
    from secagg.params.params import Params, Requirements, requirements
    from secagg.roles.client.client import Client
    from secagg.roles.client.policy import Policy
    from secagg.roles.server.server import Server, SumResult
    from secagg.session.state import Phase
    from secagg.verdicts.evidence import check_conviction
    from secagg.wire.codec import input_signature, masked_vector, message_kind

_HOME = {
    "AbortReason": "errors",
    "Aborted": "errors",
    "CapacityError": "errors",
    "Client": "roles.client.client",
    "Conviction": "errors.conviction",
    "Directory": "crypto.keys",
    "Identity": "crypto.keys",
    "InternalError": "errors",
    "Journal": "guards.journal",
    "LocalProtocolError": "errors",
    "Offence": "errors.conviction",
    "Params": "params.params",
    "Phase": "session.state",
    "Policy": "roles.client.policy",
    "RemoteProtocolError": "errors",
    "Requirements": "params.params",
    "SecAggError": "errors",
    "StateError": "errors",
    "Server": "roles.server.server",
    "SumResult": "roles.server.server",
    "TrustServerDirectory": "crypto.keys",
    "UnsafeParametersError": "errors",
    "WireFormatError": "errors",
    "check_conviction": "verdicts.evidence",
    "input_signature": "wire.codec",
    "masked_vector": "wire.codec",
    "message_kind": "wire.codec",
    "requirements": "params.params",
}

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
    "StateError",
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


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'secagg' has no attribute {name!r}")
    return getattr(importlib.import_module(f"secagg.{home}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
