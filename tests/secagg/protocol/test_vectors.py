"""Known answers of the primitives, from the documents that define them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from secagg import Identity
from secagg.crypto.keys import (
    AgreementKey,
    Directory,
    acceptable_agreement_key,
    hkdf,
    vector_digest,
)
from secagg.crypto.masks import add_masks
from secagg.crypto.sealed import open_sealed, seal
from secagg.crypto.streams import from_counter

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "secagg-primitives.json").read_text())


def cases(name):
    return [{k: bytes.fromhex(v) for k, v in case.items()} for case in VECTORS[name]["cases"]]


@pytest.mark.parametrize("case", cases("blake3"))
def test_blake3(case):
    data = bytes(i % 251 for i in range(int.from_bytes(case["length"])))
    assert vector_digest(data) == case["digest"]
    assert vector_digest(memoryview(data)) == case["digest"]


@pytest.mark.parametrize("case", cases("x25519"))
def test_x25519_rfc_7748(case):
    own = AgreementKey.from_private_bytes(case["private"])
    assert own.public == case["public"]
    assert own.agree(case["peer"]) == case["shared"]


@pytest.mark.parametrize("case", cases("x25519_function"))
def test_the_function_x25519(case):
    own = AgreementKey.from_private_bytes(case["private"])
    assert own.agree(case["peer"]) == case["shared"]


@pytest.mark.parametrize("case", cases("x25519_iterated"))
def test_x25519_iterated(case):
    k = u = b"\t" + bytes(31)
    for _ in range(int.from_bytes(case["after"])):
        k, u = AgreementKey.from_private_bytes(k).agree(u), k
    assert k == case["result"]


@pytest.mark.parametrize("case", cases("x25519_refused"))
def test_x25519_points_of_low_order_or_not_canonical(case):
    """Their agreement is zero for every key (RFC 7748, section 6.1), or they have another encoding."""
    with pytest.raises(ValueError):  # noqa: PT011 - OpenSSL words it
        AgreementKey.generate().agree(case["peer"])
    assert not acceptable_agreement_key(case["peer"])


def test_points_beside_the_refused_ones_are_accepted():
    """9 is the base point, p − 2 and 2 are of large order, on the curve or its twist."""
    for point in (2, 9, 2**255 - 21):
        key = point.to_bytes(32, "little")
        assert acceptable_agreement_key(key)
        assert AgreementKey.generate().agree(key) != bytes(32)


@pytest.mark.parametrize("case", cases("ed25519"))
def test_ed25519_rfc_8032(case):
    identity = Identity.from_private_bytes(case["private"])
    assert identity.public == case["public"]
    assert identity.sign(case["message"]) == case["signature"]
    directory = Directory({})
    assert directory.verify(case["public"], case["signature"], case["message"])
    assert not directory.verify(b"\xff" * 32, case["signature"], case["message"])
    assert not directory.verify(case["public"], case["signature"], case["message"] + b"\0")
    for bit in range(0, 512, 11):
        damaged = int.from_bytes(case["signature"], "little") ^ 1 << bit
        assert not directory.verify(case["public"], damaged.to_bytes(64, "little"), case["message"])


@pytest.mark.parametrize("case", cases("ed25519"))
def test_a_signature_has_one_form(case):
    """s + L satisfies the same equation; RFC 8032, section 5.1.7, refuses it, and so do we."""
    order = 2**252 + 27742317777372353535851937790883648493
    r, s = case["signature"][:32], int.from_bytes(case["signature"][32:], "little")
    other = r + (s + order).to_bytes(32, "little")
    assert not Directory({}).verify(case["public"], other, case["message"])


@pytest.mark.parametrize("case", cases("aes128_gcm_zero_nonce"))
def test_seals_are_gcm_under_the_zero_nonce(case):
    assert seal(case["key"], case["plaintext"], b"") == case["sealed"]
    assert open_sealed(case["key"], case["sealed"], b"") == case["plaintext"]
    for bit in range(8 * len(case["sealed"])):
        damaged = int.from_bytes(case["sealed"], "little") ^ 1 << bit
        data = damaged.to_bytes(len(case["sealed"]), "little")
        assert open_sealed(case["key"], data, b"") is None


@pytest.mark.parametrize("case", cases("hkdf"))
def test_hkdf_rfc_5869(case):
    length = len(case["okm"])
    assert hkdf(case["ikm"], salt=case["salt"], info=case["info"], length=length) == case["okm"]


@pytest.mark.parametrize("case", cases("aes128_ctr"))
def test_the_cipher_of_the_masks_sp_800_38a(case):
    assert (
        from_counter(case["key"], case["counter"]).update(case["plaintext"]) == case["ciphertext"]
    )


@pytest.mark.parametrize("case", cases("aes128_ctr_from_zero"))
@pytest.mark.parametrize("dtype", ["<u2", "<u4", "<u8"])
def test_masks_are_its_keystream_from_counter_zero(case, dtype):
    words = np.zeros(len(case["keystream"]) // np.dtype(dtype).itemsize, dtype=dtype)
    add_masks(words, [case["key"]])
    assert words.tobytes() == case["keystream"]
