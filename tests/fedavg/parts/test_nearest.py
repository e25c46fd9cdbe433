"""Names that there are not: what is similar is asked about, and what is not similar is only listed."""

from __future__ import annotations

from difflib import SequenceMatcher
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fedavg.plan.catalogue  # noqa: F401 - registers the parts
from fedavg.config.build import load_config
from fedavg.config.settings import Config
from fedavg.data.dataset import target_kind
from fedavg.data.tasks import load_task
from fedavg.encoding.broadcast import ModelCodec
from fedavg.errors import ConfigError, FedAvgError
from fedavg.losses.choice import loss_of
from fedavg.losses.imported import ImportedLoss
from fedavg.models.zoo import build_model
from fedavg.optimizers.local import LocalTraining
from fedavg.parts.nearest import explained, key_offered, nearest, offered, options_of
from fedavg.parts.registry import FAMILIES, named, names, register
from fedavg.plan.budget.planner import usual_rate
from fedavg.runs.records.settings import RecordRun, load_record_run
from fedavg.studies.executors import executor_for
from fedavg.training.compute import Compute
from fedavg.training.evaluation import Scoring

FAR = "zzyyqqxx"


def slips(name: str) -> set[str]:
    """A letter left out, a letter twice, two letters swapped: at every place of a name."""
    places = range(len(name))
    left_out = {name[:i] + name[i + 1 :] for i in places} if len(name) > 2 else set()
    doubled = {name[:i] + name[i] + name[i:] for i in places}
    swapped = {name[:i] + name[i + 1] + name[i] + name[i + 2 :] for i in places[:-1]}
    return left_out | doubled | (swapped if len(name) > 2 else set())


def as_near(slip: str, name: str, others: tuple[str, ...]) -> set[str]:
    """The known names that are as similar to a slip as the one that was meant."""

    def likeness(known: str) -> float:
        return SequenceMatcher(None, known, slip).ratio()

    return {known for known in others if likeness(known) >= likeness(name) - 1e-9}


def tables(kind: type[msgspec.Struct], place: str = "") -> list[tuple[str, type[msgspec.Struct]]]:
    """All tables of a configuration, with their dotted names."""
    found = [(place, kind)]
    for field in msgspec.structs.fields(kind):
        if isinstance(field.type, type) and issubclass(field.type, msgspec.Struct):
            found += tables(field.type, f"{place}.{field.name}" if place else field.name)
    return found


def settings(kind: type[msgspec.Struct]) -> list[tuple[str, tuple[str, ...]]]:
    """The keys that take one of a few values, with these."""
    return [
        (f"{place}.{field.name}" if place else field.name, tuple(map(str, options_of(field.type))))
        for place, table in tables(kind)
        for field in msgspec.structs.fields(table)
        if options_of(field.type)
    ]


def refusal(root: type[msgspec.Struct], key: str, value: object) -> str:
    """What the door of a configuration says of a key's value."""
    doors = {
        Config: lambda: load_config(None, {key: value}),
        RecordRun: lambda: load_record_run(None, {key: value}),
    }
    with pytest.raises(ConfigError) as caught:
        doors[root]()
    return str(caught.value)


CHOICES = [(root, *entry) for root in (Config, RecordRun) for entry in settings(root)]
TABLES = [
    (root, place, table)
    for root in (Config, RecordRun)
    for place, table in tables(root)
    if root is Config or "." not in place  # overrides of a run over records reach one table deep
]


@pytest.mark.parametrize("family", FAMILIES)
def test_slips_in_names_of_parts_are_asked_about_in_all_families(family):
    known = names(family)
    assert known
    for name in known:
        for slip in slips(name) - set(known):
            with pytest.raises(ConfigError) as caught:
                named(family, slip)
            said = str(caught.value)
            assert any(f"Do you mean {near!r}?" in said for near in as_near(slip, name, known)), (
                said
            )
    with pytest.raises(ConfigError) as caught:
        named(family, FAR)
    assert "Do you mean" not in str(caught.value)
    assert ", ".join(known) in str(caught.value)


def test_settings_of_a_few_values_are_found():
    found = {key for _, key, _ in CHOICES}
    assert {
        "training.precision",
        "data.task",
        "data.partition",
        "records.unit",
        "records.noise",
    } <= found
    assert len(CHOICES) > 30


@pytest.mark.parametrize(("root", "key", "known"), CHOICES, ids=lambda part: str(part)[:40])
def test_slips_in_values_are_asked_about_in_all_settings(root, key, known):
    for name in known:
        for slip in slips(name) - set(known):
            said = refusal(root, key, slip)
            assert said.startswith(f"{key}: there is no {slip!r}; there are {', '.join(known)}")
            assert any(f"Do you mean {near!r}?" in said for near in as_near(slip, name, known)), (
                said
            )
    assert "Do you mean" not in refusal(root, key, FAR)


@pytest.mark.parametrize(("root", "place", "table"), TABLES, ids=lambda part: str(part)[:40])
def test_slips_in_keys_are_asked_about_in_all_tables(root, place, table):
    keys = table.__struct_fields__
    for name in keys:
        # One slip a key is enough: all keys of a table go through one door.
        slip = name[:-1] + 2 * name[-1]
        said = refusal(root, f"{place}.{slip}" if place else slip, 1)
        assert f"unknown key '{place and f'{place}.'}{slip}'. Do you mean {name!r}?" in said
    assert "Do you mean" not in refusal(root, f"{place}.{FAR}" if place else FAR, 1)


@given(st.text(max_size=12), st.lists(st.text(min_size=1, max_size=12), max_size=6))
def test_any_text_gets_an_answer_of_the_known_names(name, known):
    assert set(nearest(name, known, 3)) <= set(known)
    assert offered(name, known).startswith("there are ")
    assert key_offered(name, known)


def test_upper_case_and_underscores_are_no_difference():
    assert nearest("CROSS_Entropy", ["cross-entropy", "bce"]) == ("cross-entropy",)
    assert nearest("MSE", ["mae", "mse"]) == ("mse",)
    assert nearest(3, ["three"]) == ()


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    fill: Literal["mean", "median"] = "mean"


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    inner: Inner | None = None
    many: dict[str, Inner] = {}
    rows: list[Inner] = []
    parts: tuple[Literal["days", "month"], ...] = ()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"inner": {"fill": "medain"}},
            "inner.fill: there is no 'medain'; there are mean, median. Do",
        ),
        (
            {"many": {"a": {"fill": "man"}}},
            "many[...].fill: there is no 'man'; there are mean, median. Do",
        ),
        ({"rows": [{"fil": "mean"}]}, "unknown key 'rows[0].fil'. Do you mean 'fill'?"),
        (
            {"parts": ["dayz"]},
            "parts[0]: there is no 'dayz'; there are days, month. Do you mean 'days'?",
        ),
        ({"inner": {"fill": FAR}}, f"inner.fill: there is no {FAR!r}; there are mean, median"),
        ({"inner": 3}, "inner: Expected `object | null`, got `int`"),
    ],
)
def test_messages_of_the_decoder_name_what_there_is_at_their_place(given, said):
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(given, Outer)
    assert explained(str(caught.value), Outer).startswith(said)


@pytest.mark.parametrize(
    ("door", "meant"),
    [
        (lambda: Compute("cdua"), "cuda"),
        (lambda: Compute("cpu", "bfloat"), "bfloat16"),
        (lambda: executor_for("lcal", 1), "local"),
        (lambda: build_model("sofmax", (4,), 2, seed=0), "softmax"),
        (lambda: load_task("didgits"), "digits"),
        (lambda: target_kind("clases"), "classes"),
        (lambda: Scoring(("acuracy",)), "accuracy"),
        (lambda: LocalTraining(optimizer="adamm"), "adam"),
        (lambda: register("metrc"), "metric"),
        (lambda: loss_of({"kind": "huber", "dleta": 1.0}), "delta"),
        (lambda: ImportedLoss("torch.nn.functional:mse_loss", link="sigmod"), "sigmoid"),
        (lambda: usual_rate("poison"), "poisson"),
        (lambda: ModelCodec("int88", ()), "int8"),
    ],
)
def test_slips_are_asked_about_at_the_doors_of_python(door, meant):
    with pytest.raises(FedAvgError, match=f"Do you mean '{meant}'"):
        door()
