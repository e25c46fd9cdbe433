"""Which schema a table is read by, and what is refused under noise, with a file to complete."""

import re

import msgspec
import numpy as np
import pandas as pd
import pytest

from fedavg.config.build import build_job, load_config
from fedavg.config.settings import Config
from fedavg.data.loading.schema_choice import chosen, declared_schema, proposed, settled
from fedavg.data.placement import place
from fedavg.data.settings import DataConfig
from fedavg.data.tables.columns import Boolean, Category, Date, Number, Text
from fedavg.data.tables.files import FileFormat
from fedavg.data.tables.reading import read_table
from fedavg.data.tables.schemas.schema import plain_column, read_schema
from fedavg.errors import ConfigError, DataError
from fedavg.runs.files.directory import config_to_toml
from fedavg.sums.plain import InsecurePlain
from tests.fedavg.support.tables import write

ROWS = "".join(
    f"{20 + n % 60},{'ab'[n % 2]},w{n % 97},{n % 10},{'ny'[n % 3 == 0]}\n" for n in range(400)
)
TEXT = "age,plan,code,bank,sick\n" + ROWS
DECLARED = {
    "age": {"kind": "number", "bounds": [0, 120]},
    "plan": {"kind": "category", "categories": ["a", "b"]},
    "code": {"kind": "ignored"},
    "sick": {"kind": "boolean"},
}


@pytest.fixture
def csv(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "t.csv", TEXT)
    return tmp_path


def _data(**given):
    return DataConfig(**({"name": "t.csv", "target": "sick", "client": "bank"} | given))


def _chosen(data, *, private=False):
    return chosen(
        read_table(data.name and __import__("pathlib").Path(data.name)), data, private=private
    )


def test_without_noise_a_schema_is_proposed(csv):
    proposal = _chosen(_data())
    assert proposal.schema.columns["age"] == Number()
    assert proposal.schema.columns["code"] == Text()
    assert not proposal.schema.declared
    assert not (csv / "t.schema.toml").exists()


def test_words_that_are_too_many_are_hashed_only_when_buckets_are_asked_for(csv):
    proposal = _chosen(_data(buckets=32))
    assert proposal.schema.columns["code"] == Category(buckets=32)
    assert proposal.schema.columns["plan"] == Category(categories=("a", "b"))
    placed = place(_data(buckets=32), InsecurePlain())
    assert any("97 words in 32 buckets" in note for note in placed.task.notes)


def test_under_noise_nothing_is_read_off_the_rows(csv):
    with pytest.raises(ConfigError) as refused:
        _chosen(_data(), private=True)
    said = str(refused.value)
    assert "what 'age', 'plan', 'code', 'sick' are" in said
    assert "t.schema.toml, which has been written for this table" in said
    text = (csv / "t.schema.toml").read_text()
    assert "TO COMPLETE" in text
    with pytest.raises(ConfigError, match="which exists already"):
        _chosen(_data(), private=True)
    assert (csv / "t.schema.toml").read_text() == text


def test_the_file_that_is_handed_over_is_enough_once_it_is_completed(csv):
    with pytest.raises(ConfigError):
        _chosen(_data(), private=True)
    path = csv / "t.schema.toml"
    only = DataConfig(name="t.csv", schema="t.schema.toml")
    with pytest.raises(ConfigError, match=r"bounds of 'age'; that the schema is public"):
        _chosen(only, private=True)
    text = path.read_text().replace("declared = false", "declared = true")
    path.write_text(text)
    with pytest.raises(ConfigError, match="Not declared: bounds of 'age'. To go on"):
        _chosen(only, private=True)
    path.write_text(text.replace("# bounds", "bounds"))
    assert _chosen(only, private=True).declared
    placed = place(only, None)
    assert len(placed.clients) == 10
    assert placed.task.feature_names == ("age", "plan = a", "plan = b", "plan = other")


def test_under_noise_inline_columns_are_enough(csv):
    placed = place(_data(columns=DECLARED), None)
    assert placed.task.label_names == ("no", "yes")
    assert placed.proposal is None
    undeclared = _data(columns=DECLARED, declared=False)
    with pytest.raises(ConfigError, match="declared = true"):
        place(undeclared, None)
    part = {name: column for name, column in DECLARED.items() if name != "plan"}
    with pytest.raises(ConfigError, match="what 'plan' is"):
        place(_data(columns=part), None)


def test_what_a_run_proposed_for_itself_is_no_declaration(csv):
    """The written configuration, run again under noise, is refused."""
    placed = place(_data(), InsecurePlain())
    assert placed.config.columns["age"] == {"kind": "number"}
    assert not placed.config.declared
    with pytest.raises(ConfigError, match="declared = true"):
        place(placed.config, None)


def test_a_settled_configuration_reads_the_table_alike(csv):
    first = place(_data(bounds={"age": (0, 50)}, buckets=8), InsecurePlain())
    text = config_to_toml(Config(data=first.config))
    again = place(msgspec.toml.decode(text, type=Config).data, InsecurePlain())
    np.testing.assert_array_equal(first.task.train.features, again.task.train.features)
    np.testing.assert_array_equal(first.task.test.labels, again.task.test.labels)
    assert again.proposal is None
    assert first.config == settled(again.config, declared_schema(again.config))


def test_bounds_and_vocabulary_are_short_for_columns(csv):
    schema = declared_schema(_data(bounds={"age": (0, 99)}, vocabulary={"plan": ["b", "a"]}))
    assert schema.columns == {
        "plan": Category(categories=("b", "a")),
        "age": Number(bounds=(0, 99)),
    }
    with pytest.raises(ConfigError, match="described twice"):
        declared_schema(_data(bounds={"age": (0, 9)}, columns={"age": {"kind": "number"}}))
    with pytest.raises(ConfigError, match="described twice"):
        declared_schema(_data(bounds={"age": (0, 9)}, vocabulary={"age": ["1"]}))
    with pytest.raises(ConfigError, match=r"data.bounds.age: .*the lower one first"):
        declared_schema(_data(bounds={"age": (9, 0)}))


def test_the_configuration_lies_over_the_schema_file(csv):
    write(
        csv / "s.toml",
        'target = "plan"\nclient = "bank"\n[columns.age]\nkind = "number"\nmissing = "drop"\n'
        '[columns.plan]\nkind = "category"\ncategories = ["a", "b"]\n',
    )
    data = _data(schema="s.toml", columns={"sick": Boolean()}, bounds={"age": (0, 9)})
    schema = declared_schema(data)
    assert schema.target == "sick"
    assert schema.columns["age"] == Number(missing="drop", bounds=(0, 9))
    assert schema.columns["sick"] == Boolean()


def test_a_schema_is_found_beside_the_data(tmp_path, monkeypatch):
    folder = tmp_path / "data"
    folder.mkdir()
    write(folder / "t.csv", TEXT)
    write(folder / "s.toml", 'target = "sick"\n')
    monkeypatch.chdir(tmp_path)
    assert declared_schema(DataConfig(name="data/t.csv", schema="s.toml")).target == "sick"
    with pytest.raises(ConfigError, match="cannot read the schema none.toml"):
        declared_schema(DataConfig(name="data/t.csv", schema="none.toml"))


def test_open_questions_are_asked_without_noise(csv):
    with pytest.raises(DataError, match=r"t.csv: target 'bank' has 10 different whole numbers"):
        _chosen(_data(target="bank", client=""))
    with pytest.raises(DataError, match="say which column is predicted"):
        _chosen(_data(target=""))


def test_plain_columns_leave_out_what_is_as_it_would_be_anyway():
    assert plain_column(Date()) == {"kind": "date"}
    assert plain_column(Date(parts=("hour",))) == {"kind": "date", "parts": ("hour",)}
    assert plain_column(Category(categories=("a",), other=False)) == {
        "kind": "category",
        "categories": ("a",),
        "other": False,
    }


def test_a_written_schema_of_the_command_is_read_back(csv):
    from typer.testing import CliRunner

    from fedavg.cli.app import app

    options = ["data", "schema", "t.csv", "--target", "sick", "--client", "bank"]
    result = CliRunner().invoke(app, options)
    assert result.exit_code == 0, result.output
    assert "Written to t.schema.toml" in result.output
    schema = read_schema(csv / "t.schema.toml")
    assert schema.columns["plan"] == Category(categories=("a", "b"))
    again = CliRunner().invoke(app, options)
    assert again.exit_code == 2
    assert "--force" in again.output
    assert CliRunner().invoke(app, [*options, "--force", "--noise"]).exit_code == 0
    assert "TO COMPLETE" in (csv / "t.schema.toml").read_text()


def test_the_advice_on_numbers_in_another_notation_is_executed(tmp_path):
    """The advice led from "too many for classes" to "not a number", and on to markers for every cell."""
    numbers = np.random.default_rng(0).integers(10**4, 10**5, 300)
    rows = {"income": [f"{n:,}" for n in numbers], "y": ["no", "yes"] * 150}
    path = tmp_path / "t.parquet"
    pd.DataFrame(rows).to_parquet(path)
    config = tmp_path / "c.toml"
    plain = f'[privacy]\nnoise = "none"\n[data]\nname = "{path}"\nclients = 5\n'
    for target, columns in (
        ("y", 'columns = { income = { kind = "number" } }\n'),
        ("income", ""),
        ("income", 'task = "numbers"\n'),
    ):
        text = f'{plain}target = "{target}"\n{columns}'
        config.write_text(text)
        with pytest.raises(DataError) as caught:
            build_job(load_config(config))
        (advice,) = re.findall(r"\[data\] (file = \{.*?\})", str(caught.value))
        config.write_text(f"{text}{advice}\n")
        job = build_job(load_config(config))
        assert job.config.data.columns["income"]["kind"] == "number"
        if target == "income":
            labels = np.concatenate([data.labels for data in job.clients.values()])
            own = labels[:, 0] * job.task.label_scale[0] + job.task.label_centre[0]
            assert set(own.round().astype(int)) <= set(numbers.tolist())


def test_what_a_configuration_says_of_the_file_lies_over_the_schema_file(tmp_path):
    """What it does not say stays as the schema has it, such as the lines to skip."""
    path = tmp_path / "t.csv"
    path.write_text("a remark\nx;y\n" + "1 234;no\n5 678;yes\n" * 30)
    schema = tmp_path / "t.schema.toml"
    schema.write_text('target = "y"\n[file]\nskip = 1\nseparator = ";"\n')
    data = DataConfig(name=str(path), schema=str(schema), file=FileFormat(thousands=" "))
    assert declared_schema(data).file == FileFormat(skip=1, separator=";", thousands=" ")
    proposal, rows = proposed(data)
    assert (rows, proposal.schema.columns["x"]) == (60, Number())


def test_a_schema_for_runs_without_noise_is_not_handed_over_as_one_to_complete(csv):
    """It marks nothing: another file is written, which keeps what was declared."""
    from fedavg.data.tables.schemas.file import schema_text

    plain = csv / "t.schema.toml"
    plain.write_text(schema_text(_chosen(_data()), private=False))
    before = plain.read_text()
    for data in (_data(), DataConfig(name="t.csv", schema="t.schema.toml")):
        with pytest.raises(ConfigError) as refused:
            _chosen(data, private=True)
        said = str(refused.value)
        assert "complete t.noise.schema.toml" in said
        assert "[data] schema = 't.noise.schema.toml'" in said
    assert plain.read_text() == before
    handed = (csv / "t.noise.schema.toml").read_text()
    assert "TO COMPLETE" in handed
    complete = handed.replace("declared = false", "declared = true").replace("# bounds", "bounds")
    (csv / "t.noise.schema.toml").write_text(complete)
    assert _chosen(DataConfig(name="t.csv", schema="t.noise.schema.toml"), private=True).declared


def test_a_hand_over_that_cannot_be_written_is_an_error_in_words(csv, monkeypatch):
    def refused(path, data):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("fedavg.data.loading.schema_choice.replace_file", refused)
    with pytest.raises(ConfigError, match=r"cannot be written: .*t.schema.toml: Permission denied"):
        _chosen(_data(), private=True)
