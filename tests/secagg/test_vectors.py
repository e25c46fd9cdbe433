"""Known answers of the primitives, from the documents that define them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from secagg import Identity
from secagg.keys import AgreementKey, Directory, hkdf
from secagg.masks import _keystream, add_masks

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "secagg-primitives.json").read_text())


def cases(name):
    return [{k: bytes.fromhex(v) for k, v in case.items()} for case in VECTORS[name]["cases"]]


@pytest.mark.parametrize("case", cases("x25519"))
def test_x25519_rfc_7748(case):
    own = AgreementKey.from_private_bytes(case["private"])
    assert own.public == case["public"]
    assert own.agree(case["peer"]) == case["shared"]


@pytest.mark.parametrize(
    "point", [bytes(32), b"\x01" + bytes(31), (2**255 - 20).to_bytes(32, "little")]
)
def test_x25519_points_of_low_order(point):
    """0, 1 and −1, whose agreement is zero for every key (RFC 7748, section 6.1)."""
    with pytest.raises(ValueError):  # noqa: PT011 - OpenSSL words it
        AgreementKey.generate().agree(point)


@pytest.mark.parametrize("case", cases("ed25519"))
def test_ed25519_rfc_8032(case):
    identity = Identity.from_private_bytes(case["private"])
    assert identity.public == case["public"]
    assert identity.sign(case["message"]) == case["signature"]
    directory = Directory({})
    assert directory.verify(case["public"], case["signature"], case["message"])
    damaged = bytes([case["signature"][0] ^ 1]) + case["signature"][1:]
    assert not directory.verify(case["public"], damaged, case["message"])
    assert not directory.verify(b"\xff" * 32, case["signature"], case["message"])


@pytest.mark.parametrize("case", cases("hkdf"))
def test_hkdf_rfc_5869(case):
    length = len(case["okm"])
    assert hkdf(case["ikm"], salt=case["salt"], info=case["info"], length=length) == case["okm"]


@pytest.mark.parametrize("case", cases("aes128_ctr"))
def test_the_cipher_of_the_masks_sp_800_38a(case):
    assert _keystream(case["key"], case["counter"]).update(case["plaintext"]) == case["ciphertext"]


@pytest.mark.parametrize("case", cases("aes128_ctr_from_zero"))
@pytest.mark.parametrize("dtype", ["<u4", "<u8"])
def test_masks_are_its_keystream_from_counter_zero(case, dtype):
    words = np.zeros(len(case["keystream"]) // np.dtype(dtype).itemsize, dtype=dtype)
    add_masks(words, [case["key"]])
    assert words.tobytes() == case["keystream"]
