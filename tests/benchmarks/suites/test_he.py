"""The he suite at tiny sizes: stages add up, bytes are counted right, models' files, and its commands."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from benchmarks import Bench
from benchmarks.he import __main__ as own
from benchmarks.he import against, cores, stages, widths
from benchmarks.he.model import ModelFileError, tensor_sizes
from benchmarks.he.play import CLIP, Round, play
from benchmarks.he.sides.flare import Flare
from benchmarks.he.sides.ours import Ours, label, ours
from benchmarks.he.sides.peers import Floats, Tutorial
from benchmarks.he.stages import SEAMS, Stages, seams
from he import Server
from he.roles import server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.benchmarks.conftest import Clock

_SMALL = Round((3_000, 2_000), 3)

needs_flare = pytest.mark.skipif(
    importlib.util.find_spec("nvflare") is None, reason="NVFlare is in the peers' environment only"
)


def test_stages_do_not_overlap_and_add_up_to_the_call(clock: Clock) -> None:
    taken = Stages()
    with taken.call("role"):
        with taken.stage("outer"):
            clock.spend(0.02)
            with taken.stage("inner"):
                clock.spend(0.04)
            clock.spend(0.02)
        clock.spend(0.01)
    parts = taken.parts("role")
    assert sum(parts.values()) == pytest.approx(taken.seconds("role")[0])
    assert parts == pytest.approx({"outer": 0.04, "inner": 0.04, "other": 0.01})


def test_a_call_that_raises_leaves_nothing_and_the_next_counts() -> None:
    taken = Stages()
    with pytest.raises(ValueError, match="on the way"), taken.call("role"), taken.stage("one"):
        raise ValueError("on the way")
    with taken.stage("outside a call"):
        pass
    assert taken.seconds("role") == []
    with taken.call("role"):
        pass
    assert set(taken.parts("role")) == {"other"}


@pytest.fixture(scope="module")
def met() -> set[str]:
    """The functions of seams that one round of three clients calls."""
    found: set[str] = set()
    charged = stages._charged

    def noted(original, taken, stage):
        wrapped = charged(original, taken, stage)

        def call(*args, **options):
            found.add(original.__qualname__)
            return wrapped(*args, **options)

        return call

    before = server.open_upload
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "_charged", noted)
        system = Ours(_SMALL, scheme="bfv", bits=20)
        for client in range(3):
            system.receive(client, system.send(client, _SMALL.update()))
        system.open(system.result())
    assert server.open_upload is before
    return found


@pytest.mark.parametrize("role", list(SEAMS))
def test_every_seam_is_met_and_restored(role: str, met: set[str]) -> None:
    """Each function named is called in its role: none of the stages is a dead name."""
    assert {path for _, path, _ in SEAMS[role]} <= met


def test_a_seam_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SEAMS, "client", (("he.roles.client", "Upload.vanished", "encrypt"),))
    with pytest.raises(RuntimeError, match=r"he\.roles\.client\.Upload\.vanished is gone"):
        seams(Stages(), "client").__enter__()


def test_a_round_gives_the_mean_and_the_exact_sum() -> None:
    contestants = {
        "narrow": ours("bfv", 8),
        "wide": ours("ckks", 20),
        "public": ours("bfv", 16, public_key=True),
        "floats": Floats,
        "tutorial": Tutorial,
    }
    ticks: list[None] = []
    played = play(_SMALL, contestants, openings=2, tick=lambda: ticks.append(None))
    assert len(ticks) == _SMALL.clients * len(contestants)
    for name, bits in (("narrow", 8), ("wide", 20), ("public", 16)):
        assert played[name].difference == 0
        assert played[name].error < CLIP / ((1 << (bits - 1)) - 1)
        assert played[name].opening.samples == 2
        for role in ("client", "opening"):
            whole = sum(played[name].time[role].values())
            assert whole > 0
            assert played[name].time[role]["other"] < whole / 2
    assert played["floats"].error < 1e-7
    assert played["tutorial"].error < 1e-5
    assert played["tutorial"].up > 10 * played["wide"].up
    for p in played.values():
        assert sum(p.size["upload"].values()) == p.up
        assert sum(p.size["download"].values()) == p.down


def test_a_sum_that_is_off_by_one_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exactness measure can fail: a key holder that errs once shows as 1."""
    from benchmarks.he.sides import ours as module

    opened = module.KeyHolder.decrypt

    def wrong(self, chunks):
        result = opened(self, chunks)
        total = result.total.copy()
        total[7] += 1
        return replace(result, total=total)

    monkeypatch.setattr(module.KeyHolder, "decrypt", wrong)
    played = play(_SMALL, {"ours": ours("bfv", 8)}, openings=1, warm_up=False)
    assert played["ours"].difference == 1


def test_what_the_server_spends_is_its_own(monkeypatch: pytest.MonkeyPatch, clock: Clock) -> None:
    """A slow server changes its own figure, which includes the result that clients share, and no other."""
    result = Server.result

    def slow(self):
        clock.spend(0.3)
        return result(self)

    monkeypatch.setattr(Server, "result", slow)
    played = play(_SMALL, {"ours": ours("bfv", 8)}, openings=1, warm_up=False)["ours"]
    assert played.server.median == pytest.approx(0.3 / _SMALL.clients)
    assert played.client.median == 0


def test_rounds_are_of_two_clients_and_real_tensors() -> None:
    assert Round.even(1_003, 4).length == 1_003
    assert len(Round.even(1_003, 4).layers) == 8
    for layers, clients in (((5,), 1), ((), 3), ((4, 0), 3)):
        with pytest.raises(ValueError, match="no round"):
            Round(layers, clients)


def test_sizes_come_from_safetensors_headers(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors = {
        "a": np.zeros((3, 4), np.float32),
        "b": np.zeros(5, np.float16),
        "steps": np.zeros(9, np.int64),
    }
    save_file(tensors, path)
    assert sorted(tensor_sizes(path)) == [5, 12]


def test_sizes_come_from_state_dicts_without_running_code(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    state = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).state_dict()
    torch.save({"state_dict": state, "epoch": 3}, path)
    assert tensor_sizes(path) == (12, 4, 4, 4, 4, 4)
    torch.save(torch.nn.Linear(3, 4), path)  # a pickled object, which would run code
    with pytest.raises(ModelFileError, match="as weights alone"):
        tensor_sizes(path)


@pytest.mark.parametrize("name", ["none.pt", "text.txt", "torn.safetensors", "torn.pt", "ints.pt"])
def test_files_without_sizes_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "ints.pt":
        torch.save({"a": torch.zeros(3, dtype=torch.int64)}, path)
    elif name != "none.pt":
        path.write_bytes(b"no model")
    with pytest.raises(ModelFileError):
        tensor_sizes(path)


def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    def pick(self, *, quick, default, full):
        tiny = {(50_000, 4): (4_000, 2), (50_000, 3): (2_000, 2), 300_000: 300_000, 3: 2}
        return tiny.get(quick, quick if quick != (3_000, 30_000) else (1_000, 2_000))

    def cored(bench):
        monkeypatch.setattr(cores, "_PROCESSES", 1)
        return run(bench)

    monkeypatch.setattr(widths, "_BITS", (8, 20))
    run = cores.run
    monkeypatch.setattr(cores, "run", cored)
    monkeypatch.setattr(Bench, "pick", pick)
    monkeypatch.setattr(Bench, "peer", lambda *_: None)


@pytest.mark.usefixtures("each_once")
def test_our_side_alone_reports_and_is_drawn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _tiny(monkeypatch)
    assert own.main(["--quick", "--out", str(tmp_path)]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["ours"]["context"] == 71
    assert told["ours"]["difference"] == 0
    openings = {f"onetime_opening_{n}" for n in (10, 100, 1000)}
    assert set(told["ratios"]) == {"cores", "cores_running", "cores_cpu"} | openings
    assert told["ours"]["onetime_up_1000"] < 33
    results = json.loads((tmp_path / "he.json").read_text(encoding="utf-8"))
    tables = {table["key"]: table for table in results["tables"]}
    assert set(tables) == {
        *("round", "time", "bytes"),
        *("widths_symmetric", "widths_public_key", "by_size"),
    }
    assert [row[-1] for row in tables["widths_symmetric"]["rows"]] == [0] * 4
    assert {curve["key"] for curve in results["curves"]} == {
        f"{role}_by_size" for role in ("client", "server", "opening")
    }
    page = (tmp_path / "he-parts.html").read_text(encoding="utf-8")
    assert all(f'"{part}"' in page for part in ("encrypt", "tag, sign", "verify tags", "headers"))


def test_a_users_model_is_measured_by_its_own_sizes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Bench, "peer", lambda *_: None)
    save_file({"a": np.zeros((30, 40), np.float32)}, tmp_path / "model.safetensors")
    asked = ["--model", str(tmp_path / "model.safetensors"), "--clients", "2", "--bits", "16"]
    assert own.main([*asked, "--scheme", "bfv", "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "he.json").read_text(encoding="utf-8"))
    (table,) = (t for t in results["tables"] if t["key"] == "round")
    assert table["title"] == "a round, n=2, 1,200 parameters, 16 bits"
    systems = [row[0] for row in table["rows"]]
    assert systems == [label("bfv", 16), against.TUTORIAL, against.FLOATS]
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(told["ours"]) == {f"bfv_{part}" for part in ("up", "client", "server", "opening")}
    assert (tmp_path / "he-parts.html").is_file()


def test_large_models_are_measured_without_peers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(own, "_PEERS_BELOW", 100)
    asked = ["--params", "200", "--clients", "2", "--out", str(tmp_path)]
    assert own.main(asked) == 0
    results = json.loads((tmp_path / "he.json").read_text(encoding="utf-8"))
    (table,) = (t for t in results["tables"] if t["key"] == "round")
    assert [row[0] for row in table["rows"]] == [label("bfv", 20), label("ckks", 20)]
    assert "Peers stay away" in capsys.readouterr().err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--params", "100", "--clients", "1"],
        ["--params", "0"],
        ["--params", "100", "--bits", "70"],
        ["--params", "100", "--bits", "1"],
        ["--model", "missing.safetensors"],
    ],
)
def test_what_cannot_be_measured_is_said(
    wrong: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert own.main([*wrong, "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert not list(tmp_path.iterdir())


def test_a_users_options_need_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        own.main(["--bits", "8"])
    assert "go with --params or --model" in capsys.readouterr().err


@needs_flare
def test_nvflares_own_classes_run_a_round() -> None:
    played = play(_SMALL, {"NVFlare": Flare, "ours": ours("bfv", 20)}, openings=1, warm_up=False)
    flare = played["NVFlare"]
    assert flare.error < 1e-5
    assert flare.size["upload"]["contexts"] > 2 * 100_000
    assert flare.time["client"]["encrypt"] > 0
    assert flare.up > 20 * played["ours"].up
