"""Sums in the clear: coordinates as wide as they must be, and one form for each sum."""

import numpy as np
import pytest

from fedavg.errors import CapacityError
from fedavg.sums.interface import SumSpec
from fedavg.sums.plain import InsecurePlain
from secagg import Identity

SUMS = InsecurePlain()


def spec_of(*, max_abs=None, ring_bits=None):
    return SumSpec(3, max_abs, ring_bits, roster_size=2, context=b"c" * 32)


def upload(spec, vector):
    opening = SUMS.server_side(b"").session(spec, (0, 1)).open()[0][0]
    session = SUMS.client_side(b"").session(spec, 0, Identity.generate(), opening)
    session.set_input(np.array(vector))
    (message,) = session.start()
    return message


@pytest.mark.parametrize(
    ("bound", "width"),
    [
        ({"max_abs": 2**15 - 1}, 2),
        ({"max_abs": 2**15}, 4),
        ({"max_abs": 2**31 - 1}, 4),
        ({"max_abs": 2**31}, 8),
        ({"ring_bits": 16}, 2),
        ({"ring_bits": 17}, 4),
        ({"ring_bits": 32}, 4),
        ({"ring_bits": 33}, 8),
    ],
)
def test_the_extremes_of_every_width_arrive(bound, width):
    spec = spec_of(**bound)
    least = -spec.input_bound
    most = spec.input_bound if "max_abs" in bound else spec.input_bound - 1
    message = upload(spec, [least, 0, most])
    assert len(message) == 4 + 3 * width
    assert SUMS.uploaded(message).tolist() == [least, 0, most]
    assert SUMS.describe(message) == "update in the clear"
    server = SUMS.server_side(b"").session(spec, (0, 1))
    for client in (0, 1):
        server.receive(client, message)
    server.advance()
    total = server.result().total
    assert total.dtype == np.int64
    wanted = [2 * least, 0, 2 * most]
    if "ring_bits" in bound:
        half = spec.input_bound
        wanted = [(value + half) % (2 * half) - half for value in wanted]
    assert total.tolist() == wanted


def test_another_width_of_the_same_numbers_is_refused():
    narrow, wide = spec_of(max_abs=100), spec_of(max_abs=2**20)
    server = SUMS.server_side(b"").session(narrow, (0, 1))
    with pytest.raises(CapacityError, match="client 0 did not send 3 coordinates"):
        server.receive(0, upload(wide, [1, 2, 3]))
    server.receive(0, upload(narrow, [1, 2, 3]))
