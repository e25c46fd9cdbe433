"""Fuzz targets of encrypted sums: their envelopes and public contexts, behind a signature that holds."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np

import he
from he import wire
from he.crypto.context import PublicContext

CONTEXT = bytes(range(32))
PARAMS = he.Params.for_sum(3, max_abs=100)
PUBLIC = PublicContext(PARAMS, bytes(range(32)))
TRUSTING = SimpleNamespace(
    params=PARAMS, fingerprint=PUBLIC.fingerprint, verify=lambda message, signature: None
)
"""A public context under which every signature holds, so that inputs reach what lies behind."""
ENROLLED = SimpleNamespace(verify=lambda client_id, statement, signature: None)
"""A directory that takes every signature."""


def upload(data):
    try:
        chunk = wire.open_upload(data, TRUSTING, CONTEXT)
    except he.HeError:
        return
    if wire.encode_upload(chunk, TRUSTING) + data[-64:] != data:
        raise AssertionError("a second encoding of an upload")


def enrolled_upload(data):
    try:
        chunk = wire.open_upload(data, TRUSTING, CONTEXT, sender=7, enrolled=ENROLLED)
    except he.HeError:
        return
    if wire.encode_upload(chunk, TRUSTING, enrolled=True) + data[-64:] != data:
        raise AssertionError("a second encoding of an upload")
    if chunk.name.client_id != 7:
        raise AssertionError("another client's upload")


def total(data, *, enrolled=False):
    try:
        chunk = wire.open_sum(data, TRUSTING, CONTEXT, enrolled=enrolled)
    except he.HeError:
        return
    if wire.encode_sum(chunk, TRUSTING, CONTEXT) != data:
        raise AssertionError("a second encoding of a sum")


def coefficients(data):
    try:
        wire.envelope_kind(data)
        values = wire.ciphertext_coefficients(data)
    except he.HeError:
        return
    if values.dtype != np.uint64:
        raise AssertionError("coefficients are words")


def public(data):
    try:
        found = PublicContext.from_bytes(data)
    except he.HeError:
        return
    if found.to_bytes() != data:
        raise AssertionError("a second encoding of a public context")


TARGETS = [
    ("he upload", upload),
    ("he sum", total),
    ("he coefficients", coefficients),
    ("he public context", public),
    ("he enrolled upload", enrolled_upload),
    ("he enrolled sum", partial(total, enrolled=True)),
]
