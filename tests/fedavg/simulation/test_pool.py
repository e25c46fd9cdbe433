"""Worker processes: buffers that fill up, exchanges that break off, other ways to start, and being killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from fedavg.data.dataset import Dataset
from fedavg.models.layout import Layout
from fedavg.models.spec import ModelSpec
from fedavg.plan.resolution import resolve
from fedavg.privacy.sampling import FixedCohort, PoissonCohort
from fedavg.protocol import messages
from fedavg.protocol.driver import Delivery, RoundTraffic, run_round
from fedavg.protocol.messages import Ready, RoundStart
from fedavg.server.round import RoundServer
from fedavg.simulation import pool as workers
from fedavg.simulation import worker as worker_process
from fedavg.simulation.faults import Faults
from fedavg.simulation.messages import (
    Acknowledged,
    Answers,
    ClientData,
    Exchange,
    decode_reply,
    encode,
)
from fedavg.simulation.pool import WorkerPool
from fedavg.simulation.population import InProcess, Population
from fedavg.simulation.shared_memory import SharedBuffer, SharedBuffers
from fedavg.training.threads import one_thread
from tests.e2e.small import SUMS, clients, plan

if TYPE_CHECKING:
    from fedavg.plan.resolution import ResolvedPlan
    from fedavg.privacy.sampling import Cohort

pytestmark = pytest.mark.skipif(os.name != "posix", reason="buffers need open files handed on")


_MODEL = ModelSpec("2nn", (12,), 3)  # long enough to lie on a board
_LENGTH = sum(part.numel() for part in _MODEL.build().parameters())


class _Echo:
    """A population whose clients answer with long messages of their own."""

    def deliver(self, round_index: int, client: int, asked: list[bytes], attempt: int) -> Delivery:
        del round_index, asked, attempt
        return Delivery(client, (bytes([client]) * 5_000, b"short"))


def test_a_full_board_waits_for_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mutant: a board that is wiped without waiting gives some clients another's bytes."""
    monkeypatch.setattr(worker_process, "_BOARD", 16_000)
    near, far = multiprocessing.Pipe()
    board = SharedBuffer.create()
    worker = worker_process._Worker(far, SharedBuffers([board], 0))
    worker._population = _Echo()
    thread = threading.Thread(target=worker.serve)
    thread.start()
    seen: dict[int, bytes] = {}
    batches = 0
    near.send_bytes(encode(Exchange(0, [(client, [b"go"]) for client in range(20)])))
    last = False
    while not last:
        reply = decode_reply(near.recv_bytes())
        assert isinstance(reply, Answers)
        time.sleep(0.005)  # a slow reader
        for client, (long, short), failure in reply.deliveries:
            seen[client] = board.get(long)
            assert (short, failure) == (b"short", None)
        near.send_bytes(encode(Acknowledged()))
        batches, last = batches + 1, reply.last
    near.close()
    thread.join()
    assert seen == {client: bytes([client]) * 5_000 for client in range(20)}
    assert batches >= 7
    assert os.fstat(board.handle).st_size <= 16_000
    board.close()


def _resolution(cohort: Cohort) -> ResolvedPlan:
    chosen = plan(SUMS["insecure-plain"], cohort=cohort)
    return resolve(chosen, num_clients=6, vector_length=_LENGTH, num_rounds=3, largest_client=8)


def _pool(count: int = 2, cohort: Cohort = PoissonCohort(1.0)) -> WorkerPool:  # noqa: B008 - frozen
    pool = WorkerPool(clients(6), _MODEL, workers=count, faults=Faults())
    resolution = _resolution(cohort)
    publics = pool.publics()
    assert len(set(publics.values())) == 6  # forked from one process, yet each with its own entropy
    pool.equip(resolution, b"", 0, None)
    return pool


def _start(index: int) -> bytes:
    return messages.encode(RoundStart(index, np.zeros(_LENGTH, "<f4").tobytes(), None))


def _ready(pool: WorkerPool, index: int) -> dict[int, int]:
    told = dict.fromkeys(range(6), (_start(index),))
    found: dict[int, int] = {}
    for delivery in pool.exchange(told):
        assert delivery.failure is None, delivery.failure
        (message,) = delivery.messages
        answer = messages.decode(message)
        assert isinstance(answer, Ready)
        found[delivery.party] = answer.round
    return found


def test_an_exchange_that_breaks_off_leaves_nothing_to_the_next() -> None:
    pool = _pool()
    try:
        pool.begin_round(0)
        broken = pool.exchange(dict.fromkeys(range(6), (_start(0),)))
        next(broken)
        broken.close()
        pool.begin_round(1)
        assert _ready(pool, 1) == dict.fromkeys(range(6), 1)
        pool.watch(3)
        assert pool.seen(3) is None
    finally:
        pool.close()


def test_spawned_workers_without_buffers_do_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on systems that cannot fork or hand files on."""
    monkeypatch.setattr(workers, "FORKS", False)
    monkeypatch.setattr(workers, "_SHARES", False)
    pool = _pool(1)
    try:
        pool.begin_round(0)
        assert _ready(pool, 0) == dict.fromkeys(range(6), 0)
    finally:
        pool.close()


_SCRIPT = """
import os, time
from tests.fedavg.simulation.test_pool import _pool
if __name__ == "__main__":
    pool = _pool()
    print(*(process.pid for process in pool._processes), flush=True)
    time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_nothing_stays_when_the_main_process_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text(_SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert process.stdout is not None
    pids = [int(pid) for pid in process.stdout.readline().split()]
    assert len(pids) == 2
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    until = time.monotonic() + 60
    while any(_runs(pid) for pid in pids) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(_runs(pid) for pid in pids)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _sum_over(
    transport: WorkerPool | InProcess,
    resolution: ResolvedPlan,
    index: int,
    spec: ModelSpec = _MODEL,
) -> list[int]:
    """One round among clients that all live in the first process."""
    side = resolution.plan.secure_sum.server_side(b"")
    model = spec.build()
    weights = Layout.of(model).flatten(model).astype("<f4").tobytes()
    start = RoundStart(index, weights, None)
    server = RoundServer(resolution, side, start=start, cohort=(0, 2, 4))
    transport.begin_round(index)
    return run_round(server, transport, RoundTraffic()).total.tolist()


def test_idle_workers_train_clients_of_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """To the bit what each client's own process gives; mutant: another client's update."""
    lent: list[int] = []
    balance = WorkerPool._balance

    def spy(self: WorkerPool, portions: list[list[object]]) -> list[object]:
        loans = balance(self, portions)
        lent.extend(loan.sent[0] for loan in loans)
        return loans

    monkeypatch.setattr(WorkerPool, "_balance", spy)
    resolution = _resolution(FixedCohort(3))
    model = _MODEL.build()
    alone = InProcess(Population(clients(6), Faults()), model, Layout.of(model))
    alone.equip(resolution, b"", 0, None)
    with one_thread():
        expected = [_sum_over(alone, resolution, index) for index in range(2)]
    pool = _pool(2, FixedCohort(3))
    try:
        assert [_sum_over(pool, resolution, index) for index in range(2)] == expected
    finally:
        pool.close()
    assert lent == [4, 4]
    assert any(expected[0])


def test_what_cannot_be_trained_elsewhere_fails_at_home() -> None:
    """The client's own process meets the same obstacle and says whose it is."""
    pool = _pool()
    try:
        pool.begin_round(0)
        short = messages.encode(RoundStart(0, np.zeros(_LENGTH - 1, "<f4").tobytes(), None))
        told = dict.fromkeys((0, 2, 4), (short,))
        failures = {delivery.party: delivery.failure for delivery in pool.exchange(told)}
        assert set(failures) == {0, 2, 4}
        assert all("parameters" in str(failure) for failure in failures.values())
        pool.begin_round(1)
        assert _ready(pool, 1) == dict.fromkeys(range(6), 1)
    finally:
        pool.close()


def test_the_server_can_be_started_before_torch_is_loaded() -> None:
    code = (
        "import sys; from fedavg.simulation.fork_server import start_early; "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_what_is_forked_has_one_thread_for_its_products_and_the_caller_keeps_its_own() -> None:
    code = (
        "import os, time; os.environ['OMP_NUM_THREADS'] = '7'\n"
        "from multiprocessing import forkserver as f\n"
        "from fedavg.simulation.fork_server import start_early\n"
        "start_early()\n"
        "place = f'/proc/{f._forkserver._forkserver_pid}/'\n"
        "until = time.monotonic() + 60\n"
        "while 'forkserver' not in open(place + 'cmdline').read() and time.monotonic() < until:\n"
        "    time.sleep(0.01)  # not yet the new program\n"
        "told = open(place + 'environ').read().split(chr(0))\n"
        "assert {'OMP_NUM_THREADS=1', 'OPENBLAS_NUM_THREADS=1'} <= set(told)\n"
        "assert os.environ['OMP_NUM_THREADS'] == '7' and 'MKL_NUM_THREADS' not in os.environ\n"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(Path(__file__).parents[3])}
    )


@pytest.mark.parametrize(
    "data",
    [
        Dataset(np.ones((3, 2)), np.arange(3)),
        Dataset(np.ones((3, 2)), np.arange(6.0).reshape(3, 2), target="numbers"),
        Dataset(np.ones((3, 2)), np.eye(3, dtype=bool), target="multi-label", weights=[1, 2, 3]),
    ],
    ids=lambda data: data.kind.name,
)
def test_labels_of_every_kind_and_weights_reach_the_workers(data):
    """What a worker rebuilds from a holding is the data set that was deposited."""
    buffers = SharedBuffers([], 0)
    holding = ClientData.of(4, data, buffers, 0)
    sent = msgspec.msgpack.decode(msgspec.msgpack.encode(holding), type=ClientData)
    rebuilt = worker_process.dataset_of(sent, buffers)
    assert rebuilt.kind == data.kind
    np.testing.assert_array_equal(rebuilt.features, data.features)
    np.testing.assert_array_equal(rebuilt.labels, data.labels)
    assert rebuilt.labels.dtype == data.labels.dtype
    if data.weights is None:
        assert rebuilt.weights is None
    else:
        np.testing.assert_array_equal(rebuilt.weights, data.weights)
