"""A tiny study for tests: blobs on forty clients, the same result every time."""

from __future__ import annotations

from fedavg.studies.workers import answer
from tests.e2e.small import blobs_in

GRID = '[grid]\n"local.lr" = [0.5, 0.2]\nseed = [0, 1]\n'


def study_in(folder, extra=GRID, rounds=2):
    """Write blobs and a study over them; returns the study's path."""
    path = folder / "tiny.toml"
    path.write_text(
        f"""title = "Tiny"
[base]
rounds = {rounds}
data = {{name = "{blobs_in(folder)}", clients = 40}}
cohort = {{rate = 1.0}}
secure_sum = {{kind = "insecure-plain"}}
privacy = {{noise = "none"}}
{extra}
"""
    )
    return path


def records_study_in(folder, extra, base=""):
    """Write blobs and a study of records in four silos over them; returns the study's path."""
    path = folder / "records_study.toml"
    path.write_text(
        f"""title = "Tiny silos"
[base]
steps = 2
score_every = 2
data = {{name = "{blobs_in(folder)}"}}
server = {{lr = 0.5}}
{base}
[base.records]
unit = "record"
silos = 4
rate = 0.2
max_units = 120
epsilon = 4.0
{extra}
"""
    )
    return path


class OneProcess:
    """Stands in for `Workers` and counts; `stop_after` interrupts before that many runs."""

    width = 1

    def __init__(self, stop_after=None, broken=()):
        self.checked, self.ran = [], []
        self._stop_after = stop_after
        self._broken = broken

    def __call__(self, jobs):
        return self

    def work(self, requests):
        for request in requests:
            if request.derived is None:
                self.checked.append(request.id)
                yield answer(request)
                continue
            if len(self.ran) == self._stop_after:
                raise KeyboardInterrupt
            self.ran.append(request.id)
            yield self._run(request)

    def _run(self, request):
        if request.trial.seed in self._broken:
            from fedavg.studies.workers import CellAnswer

            return CellAnswer(id=request.id, outcome="failed", reason="OSError: planted")
        return answer(request)

    def close(self):
        pass
