"""The picture of a partition: its counts, its page, and the command that writes it."""

import numpy as np
import pytest
from typer.testing import CliRunner

from fedavg.cli.app import app
from fedavg.config.build import build_job, load_config
from fedavg.data.partitions.partition import dirichlet
from fedavg.reports.tables.partition import Partition, holdings, write_partition_page
from tests.fedavg.support.pages import Page


def test_holdings_count_every_example_once():
    labels = np.arange(90) % 4
    pieces = dirichlet(labels, 7, alpha=0.3, seed=0)
    counts = holdings(labels, pieces, 5)
    assert counts.shape == (5, 7)
    assert counts.sum(1).tolist() == [*np.bincount(labels).tolist(), 0]
    for client, piece in enumerate(pieces):
        assert counts[:, client].tolist() == np.bincount(labels[piece], minlength=5).tolist()


def shown(*words):
    result = CliRunner().invoke(app, ["data", "show", *map(str, words)])
    assert result.exit_code == 0, result.output


def test_the_page_has_names_sizes_in_order_and_logarithmic_colours(tmp_path):
    counts = np.array([[1, 100, 0], [9, 900, 3]])
    names = ("ward A", "ward <B>", "a ward with a name that is far too long")
    page = tmp_path / "p.html"
    write_partition_page(page, Partition("loans", "natural", counts, ("no", "yes"), names))
    read = Page(page.read_text())
    read.assert_offline()
    figures = read.figures()
    (bars,) = figures["sizes"]["data"]
    assert bars["x"] == ["ward <B>", "ward A", "a ward with a name that…"]
    assert bars["y"] == [1000, 10, 3]
    (heat,) = figures["holdings"]["data"]
    assert heat["y"] == ["no", "yes"]
    assert heat["z"] == [[2.0, 0.0, None], [2.954, 0.954, 0.477]]
    assert heat["customdata"] == [[100, 1, 0], [900, 9, 3]]
    assert heat["zmax"] == np.log10(900)  # the whole scale is used
    assert heat["colorbar"]["ticktext"] == ["1", "10", "100", "900"]
    assert "1,013 examples" in read.words
    assert "from 3 to 1,000" in read.words


@pytest.mark.parametrize(
    ("most", "ticks"),
    [
        (1, ["1", "2"]),
        (10, ["1", "10"]),
        (19, ["1", "19"]),
        (20, ["1", "10", "20"]),
    ],
)
def test_colours_end_at_the_largest_count(tmp_path, most, ticks):
    counts = np.array([[most], [0]])
    page = tmp_path / "p.html"
    write_partition_page(page, Partition("loans", "iid", counts, ("no", "yes"), ("a",)))
    (heat,) = Page(page.read_text()).figures()["holdings"]["data"]
    assert heat["colorbar"]["ticktext"] == ticks


def test_clients_of_one_name_stay_apart(tmp_path):
    page = tmp_path / "p.html"
    long = "x" * 40
    write_partition_page(page, Partition("t", "iid", np.array([[2, 1]]), ("a",), (long, long)))
    (bars,) = Page(page.read_text()).figures()["sizes"]["data"]
    assert len(set(bars["x"])) == 2


def test_data_show_draws_the_partition_that_a_run_trains_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = "ward,x,sick\n" + "".join(
        f"w{n % 3},{n % 37},{'no' if n % 4 else 'yes'}\n" for n in range(300)
    )
    (tmp_path / "t.csv").write_text(text)
    config = tmp_path / "t.toml"
    config.write_text(
        'data = {name = "t.csv", target = "sick", client = "ward"}\nprivacy.noise = "none"\n'
    )
    shown(config, "--out", tmp_path / "p.html")
    read = Page((tmp_path / "p.html").read_text())
    (bars,) = read.figures()["sizes"]["data"]
    job = build_job(load_config(config))
    sizes = {f"w{client}": len(data) for client, data in job.clients.items()}
    assert dict(zip(bars["x"], bars["y"], strict=True)) == sizes
    (heat,) = read.figures()["holdings"]["data"]
    assert heat["y"] == ["no", "yes"]
    shown("t.csv", "--target", "x", "--clients", 4, "--out", tmp_path / "q.html")
    (heat,) = Page((tmp_path / "q.html").read_text()).figures()["holdings"]["data"]
    assert heat["y"][-1].endswith("… 36")
    words = ["data", "schema", "t.csv", "--target", "sick", "--client", "ward"]
    assert CliRunner().invoke(app, words).exit_code == 0
    shown("t.csv", "--schema", "t.schema.toml", "--out", tmp_path / "r.html")
    read = Page((tmp_path / "r.html").read_text())
    (bars,) = read.figures()["sizes"]["data"]
    assert dict(zip(bars["x"], bars["y"], strict=True)) == sizes


def test_data_show_writes_a_page_of_a_built_in_set(tmp_path):
    page = tmp_path / "p.html"
    shown("digits", "--partition", "dirichlet", "--clients", "12", "--out", page)
    read = Page(page.read_text())
    assert len(read.figures()["sizes"]["data"][0]["x"]) == 12
    assert "partition dirichlet" in read.words


def test_data_show_refuses_in_words(tmp_path):
    page = tmp_path / "p.html"
    for options in (
        ["digit"],
        ["digits", "--partition", "dirichlett"],
        ["digits", "--clients", "0"],
    ):
        result = CliRunner().invoke(app, ["data", "show", *options, "--out", str(page)])
        assert result.exit_code == 2
        assert "Error:" in result.output
        assert not page.exists()
