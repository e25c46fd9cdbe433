"""Columns of categories: a vocabulary, an "other", and a hash only where it is asked for."""

import numpy as np
import pytest

from fedavg.data.dataset import CLASSES
from fedavg.data.tables.columns import Category
from fedavg.data.tables.columns.category import bucket_of
from fedavg.errors import SchemaError
from tests.fedavg.support.tables import cells


def test_words_become_their_places_and_others_are_counted():
    column = Category(categories=("M", "F"))
    encoded = column.encode(cells(["F", "M", "X", "", "Y"], heading="sex"))
    np.testing.assert_array_equal(encoded.arrays[0], [1, 0, 2, np.nan, 2])
    assert encoded.notes == (
        "sex: 2 cells of 2 words outside the vocabulary count as the other category: 'X', 'Y'",
    )
    assert column.fields("sex")[0].categories == ("M", "F", "other")


def test_without_other_a_word_outside_the_vocabulary_is_odd():
    encoded = Category(categories=("a", "b"), other=False).encode(cells(["a", "c", ""]))
    assert encoded.odd.tolist() == [False, True, False]
    assert encoded.wanted == "one of 'a', 'b'"


@pytest.mark.parametrize(
    "words",
    [
        *(["True", "False"], ["Y", "N"], ["M", "F"]),
        ["rent", "owner", "priv", "other", "parents", "ignore", "none"],
    ],
)
def test_words_of_a_vocabulary_never_become_one(words):
    """Hashed into sixteen buckets, as they once were, these sets of words collide."""
    assert len({bucket_of(word, 16) for word in words}) < len(words)
    column = Category(categories=tuple(words))
    codes = column.encode(cells(words, markers=())).arrays[0]
    assert len(set(codes.tolist())) == len(words)
    assert len(set(column.fields("c")[0].categories)) == len(words) + 1


def test_a_hash_says_how_many_words_share_a_bucket():
    encoded = Category(buckets=2).encode(cells(["M", "F", "x", "M"], heading="sex"))
    assert "sex: 3 words in 2 buckets: " in encoded.notes[0]
    assert "share one with another word" in encoded.notes[0]
    alone = Category(buckets=64).encode(cells(["Rome", "Oslo"], heading="sex"))
    assert alone.notes == ("sex: 2 words in 64 buckets, none of them shared",)


def test_buckets_depend_on_the_cell_alone():
    """Known answers of BLAKE2b with the person string, so that clients of all versions agree."""
    assert [bucket_of(word, 16) for word in ("Rome", "Oslo", "")] == [13, 2, 14]
    one = Category(buckets=16).encode(cells(["x", "Rome"])).arrays[0]
    two = Category(buckets=16).encode(cells(["Rome", "z"])).arrays[0]
    assert one[1] == two[0] == 13


def test_whole_numbers_are_found_with_and_without_a_decimal_point():
    column = Category(categories=("1", "2"))
    assert column.encode(cells(["1.0", "2.0", "10"])).arrays[0].tolist() == [0, 1, 2]


def test_classes_keep_the_order_of_the_vocabulary_and_other_words_have_no_label():
    labels = Category(categories=("good", "bad")).labels(
        cells(["bad", "good", "", "ugly"], heading="y")
    )
    assert labels.kind == CLASSES
    assert labels.names == ("good", "bad")
    assert labels.values[:2].tolist() == [1, 0]
    assert labels.known.tolist() == [True, True, False, False]
    assert labels.notes == ("y: 1 rows hold no declared class but 'ugly', and are left out",)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({}, "vocabulary .* or a number of buckets .* neither is given"),
        ({"categories": ("a",), "buckets": 4}, "both are given"),
        ({"buckets": 1}, "buckets must be 2 or more"),
        ({"buckets": -3}, "buckets must be 2 or more"),
        ({"categories": ("a", "a")}, "twice"),
        ({"categories": ("a",), "missing": "mean"}, "no missing = 'mean'"),
        ({"categories": ("a",), "missing": "constant", "fill": "z"}, "is none of the categories"),
    ],
)
def test_categories_that_contradict_themselves(arguments, word):
    with pytest.raises(SchemaError, match=word):
        Category(**arguments)


def test_a_target_is_not_hashed_and_has_two_classes():
    with pytest.raises(SchemaError, match="cannot be hashed"):
        Category(buckets=4).labels(cells(["a"]))
    with pytest.raises(SchemaError, match="two classes or more"):
        Category(categories=("a",)).labels(cells(["a"]))


def test_a_constant_is_a_category_or_the_other_one():
    filled = Category(categories=("a", "b"), missing="constant", fill="b").fields("c")[0]
    assert filled.fill == 1
    rest = Category(categories=("a", "b"), missing="constant", fill="other").fields("c")[0]
    assert rest.fill == 2
    named = Category(categories=("a", "other"), missing="constant", fill="any other")
    assert named.fields("c")[0].categories == ("a", "other", "any other")
    assert not named.undeclared()
