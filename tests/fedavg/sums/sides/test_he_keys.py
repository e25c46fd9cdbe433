import pytest

import he
from fedavg.sums.sides.he_keys import HeMaterial


@pytest.fixture(scope="module")
def secret():
    return he.SecretContext.generate(
        he.Params.for_sum(3, max_abs=100, scheme="bfv", public_key=True)
    )


def test_material_prints_no_key():
    assert repr(HeMaterial(b"", b"key")) == "HeMaterial(<redacted>)"
    assert "key" not in str(HeMaterial(b"", b"key", b"names"))


def test_material_is_read_as_it_was_written(secret):
    held = HeMaterial(secret.params.to_bytes(), secret.export_secret_key(), b"names")
    assert HeMaterial.from_bytes(held.to_bytes()) == held
    assert held.secret().params == secret.params


def test_clients_encrypt_with_the_key_that_they_hold(secret):
    params = secret.params.to_bytes()
    assert (
        type(HeMaterial(params, secret.export_secret_key()).encrypting("clients"))
        is he.SecretContext
    )
    public = HeMaterial(params, secret.encryptor().export())
    assert type(public.encrypting("holder")) is he.EncryptContext
    with pytest.raises(he.WireFormatError, match="no exported keys of this kind"):
        public.secret()
