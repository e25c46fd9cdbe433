"""Texts as examples: the alphabet, the windows, and a split in which no test character was trained on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedavg.config.settings import DataConfig
from fedavg.data.placement import place
from fedavg.data.readers.text import ALPHABET, codes_of, split_texts, windows
from fedavg.data.tasks import load_task
from fedavg.errors import ConfigError
from fedavg.models.zoo import build_model, count_parameters

TEXTS = st.lists(st.text(max_size=120), min_size=1, max_size=4).filter(
    lambda texts: any(len(text) > 8 for text in texts)
)


def characters(codes):
    return "".join("?" if code == 0 else ALPHABET[int(code) - 1] for code in codes)


@given(st.text(max_size=50))
def test_codes_give_the_text_back_but_for_strange_characters(text):
    codes = codes_of(text)
    assert len(codes) == len(text)
    for character, code in zip(text, codes, strict=True):
        assert (code == 0) == (character not in ALPHABET)
        assert code == 0 or ALPHABET[code - 1] == character


def test_the_alphabet_is_printable_ascii_and_the_end_of_a_line():
    assert len(ALPHABET) == len(set(ALPHABET)) == 96
    assert all(ord(c) < 127 and (c.isprintable() or c == "\n") for c in ALPHABET)


@given(texts=TEXTS, stride=st.integers(1, 9), fraction=st.floats(0.05, 0.95))
def test_windows_are_pieces_of_their_text_and_the_split_has_no_character_on_both_sides(
    texts, stride, fraction
):
    columns = windows(texts, window=8, stride=stride)
    owners = columns["owners"]
    assert len(owners) == sum(len(range(0, len(t) - 8, stride)) for t in texts if len(t) > 8)
    train, test = split_texts(columns, fraction)
    assert not set(train) & set(test)
    reach: dict[int, int] = {}
    for index in [*train, *test]:
        text = texts[owners[index]]
        start = round(columns["begin"][index] * len(text))
        coded = characters(codes_of(text[start : start + 9]))
        assert characters(columns["features"][index]) == coded[:8]
        assert characters([columns["labels"][index]]) == coded[8]
        if index in train:
            reach[owners[index]] = max(reach.get(owners[index], 0), start + 9)
        else:
            assert start >= reach.get(owners[index], 0)


def test_the_built_in_texts_are_one_client_a_topic():
    task = load_task("python-topics")
    assert task.num_classes == 97
    assert task.train.features.shape[1:] == (80,)
    assert "Python" in task.source
    assert "PSF" in task.licence
    sizes = np.bincount(task.owners)
    assert sizes.min() >= 1
    assert sizes.max() > 20 * np.median(sizes) / 2  # topics differ in length: a natural skew
    data = DataConfig(name="python-topics", partition="natural")
    placed = place(data, None, seed=0)
    clients = placed.clients
    assert placed.names[:2] == task.owner_names[:2] == ("assert", "assignment")
    assert task.label_names[:3] == ("other", "\\n", " ")
    assert [len(clients[i]) for i in range(len(sizes))] == sizes.tolist()
    iid = DataConfig(name="python-topics", partition="iid", clients=50)
    mixed = place(iid, None, seed=0).clients
    assert len(mixed) == 50


def test_the_lstm_reads_codes_and_predicts_the_next():
    model = build_model("char-lstm", (80,), 97, seed=0, hidden=(16, 12))
    lstm = 4 * 16 * (8 + 16) + 8 * 16 + 4 * 12 * (16 + 12) + 8 * 12
    assert count_parameters(model) == 97 * 8 + lstm + 12 * 97 + 97
    assert model(torch.randint(0, 97, (5, 80)).float()).shape == (5, 97)
    codes = torch.randint(0, 97, (5, 6)).float()
    changed = codes.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 97
    assert not torch.equal(model(codes), model(changed))  # the first character still counts
    with pytest.raises(ConfigError, match="takes windows of character codes"):
        build_model("char-lstm", (8, 8), 97, seed=0)
