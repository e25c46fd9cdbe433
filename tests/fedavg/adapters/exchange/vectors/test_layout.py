"""Named arrays as vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedavg.adapters.exchange.vectors.layout import ArrayLayout, content_digest
from fedavg.errors import PlanError

_ARRAYS = st.dictionaries(
    st.text(min_size=1, max_size=8),
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int64, np.int8, np.uint8]),
        hnp.array_shapes(min_dims=0, max_dims=3, max_side=4),
        elements={"min_value": 0, "max_value": 100},
    ),
    max_size=4,
)


@given(_ARRAYS)
def test_arrays_come_back(arrays):
    layout = ArrayLayout.of(arrays)
    back = layout.unflatten(layout.flatten(arrays))
    assert back.keys() == arrays.keys()
    for name, array in arrays.items():
        assert back[name].shape == array.shape
        np.testing.assert_array_equal(back[name], array)


@given(_ARRAYS)
def test_the_order_of_arrays_says_nothing_about_a_vector_and_is_part_of_the_content(arrays):
    turned = dict(reversed(list(arrays.items())))
    assert ArrayLayout.of(turned) == ArrayLayout.of(arrays)
    same = len(arrays) < 2
    assert (content_digest(turned, b"") == content_digest(arrays, b"")) is same


@pytest.mark.parametrize(
    ("dtype", "mean"),
    [("f2", "f4"), ("f4", "f4"), ("f8", "f8"), (">f4", "f4"), ("i8", "f8"), ("u1", "f8")],
)
def test_types_of_means(dtype, mean):
    layout = ArrayLayout.of({"a": np.zeros(2, dtype)})
    assert layout.unflatten(np.ones(2))["a"].dtype == np.dtype(mean)


@pytest.mark.parametrize(
    "array", [np.zeros(2, bool), np.zeros(2, complex), np.zeros(2, object), [1.0], np.ma.zeros(2)]
)
def test_arrays_that_are_no_numbers_are_named(array):
    with pytest.raises(PlanError, match="array 'mask'"):
        ArrayLayout.of({"mask": array})


def test_arrays_that_are_not_carried_need_no_type():
    layout = ArrayLayout.of({"mask": np.zeros(2, bool), "w": np.zeros(3)}, lambda name: name == "w")
    assert layout.names == ("w",)


@pytest.mark.parametrize(
    ("arrays", "what"),
    [({}, "array 'w' is missing"), ({"w": np.zeros((2, 1))}, "array 'w' has shape")],
)
def test_other_arrays_are_named(arrays, what):
    with pytest.raises(PlanError, match=what):
        ArrayLayout.of({"w": np.zeros(2)}).flatten(arrays)


@pytest.mark.parametrize(
    ("arrays", "settings"),
    [
        ({"w": np.zeros(2)}, b"x"),
        ({"v": np.zeros(2)}, b""),
        ({"w": np.zeros((2, 1))}, b""),
        ({"w": np.zeros(2, np.float32)}, b""),
        ({"w": np.array([0.0, -0.0])}, b""),
        ({}, b""),
    ],
)
def test_every_difference_changes_the_digest(arrays, settings):
    assert content_digest({"w": np.zeros(2)}, b"") != content_digest(arrays, settings)


def test_a_strided_array_has_the_digest_of_its_values():
    wide = np.arange(12.0).reshape(3, 4)
    assert content_digest({"w": wide[:, ::2]}, b"") == content_digest(
        {"w": wide[:, ::2].copy()}, b""
    )


@pytest.mark.parametrize(
    "array", [np.ones(2, bool), np.ones(2, complex), np.array(["a", "b"]), np.array(b"a")]
)
def test_everything_plain_that_a_server_sends_has_a_digest(array):
    one = content_digest({"w": np.zeros(2), "mask": array}, b"")
    assert one == content_digest({"w": np.zeros(2), "mask": array.copy()}, b"")
    assert one != content_digest({"w": np.zeros(2), "mask": np.zeros_like(array)}, b"")


@pytest.mark.parametrize("array", [np.zeros(2, object), [1.0], np.ma.zeros(2)])
def test_objects_have_none_and_are_not_blamed_on_the_agreement(array):
    with pytest.raises(PlanError, match="array 'extra'") as refused:
        content_digest({"extra": array}, b"")
    assert "agreement" not in str(refused.value)


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, ">i8"])
def test_integers_that_float64_would_round_are_named(dtype):
    edge = np.array([2**53], dtype)
    layout = ArrayLayout.of({"c": edge})
    assert layout.flatten({"c": edge}).tolist() == [2.0**53]
    for refuses in (ArrayLayout.of, layout.flatten):
        with pytest.raises(PlanError, match="array 'c' holds integers beyond"):
            refuses({"c": edge + np.ones(1, dtype)})
    with pytest.raises(PlanError, match="array 'c' holds integers beyond"):
        layout.flatten({"c": np.array([-(2**63)])})
