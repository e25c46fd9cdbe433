"""One accountant in a process of its own: `python -m benchmarks.dp.child`, questions in, answers out.

A question is a JSON line; so is its answer, with CPU seconds and without start-up and imports.  The
process may use 4 GiB: some accountants ask for far more.
"""

from __future__ import annotations

import importlib
import json
import logging
import resource
import subprocess
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.dp.cases import Case

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Answer", "ask"]

_MEMORY = 4 << 30
_MESHES = (1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5, 3e-6)


@dataclass(frozen=True, slots=True)
class Answer:
    """What one accountant said.

    Args:
        low: lower bound on ε; 0 where it gives none.
        high: ε, or None when it failed.
        seconds: of CPU, for the answer alone.
        memory_mib: peak of its process so far.
        failure: why there is no answer.
    """

    low: float
    high: float | None
    seconds: float
    memory_mib: float = 0.0
    failure: str = ""

    @property
    def width(self) -> float | None:
        """(high − low) ÷ high; None without two sides."""
        if self.high is None or self.low <= 0 or self.high <= 0:
            return None
        return (self.high - self.low) / self.high


def ask(who: str, cases: Sequence[Case], *, width: float = 0.0, seconds: int = 300) -> list[Answer]:
    """Put questions to a fresh process of one accountant.

    Args:
        who: "ours", "prv", "pld", "pld-upper", "rdp" or "gdp".
        cases: the questions, answered in order.
        width: relative width to reach, for those that can be asked for one.
        seconds: on the wall, start-up included; what has no answer then has failed.  A limit on CPU
            time would make the process's clock coarse on some kernels.
    """
    lines = "".join(json.dumps({"width": width, **asdict(case)}) + "\n" for case in cases)
    try:
        done = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", "benchmarks.dp.child", who],
            input=lines,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
        output, reason = done.stdout, f"ended with {done.returncode}"
    except subprocess.TimeoutExpired as error:
        output, reason = (error.stdout or b"").decode(), "took too long"
    answers = [Answer(**json.loads(line)) for line in output.splitlines()]
    missing = Answer(0.0, None, float(seconds), failure=reason)
    return answers + [missing] * (len(cases) - len(answers))


def _ours(case: Case, width: float) -> tuple[float, float]:
    del width
    from dp import Accountant, GaussianEvent, NoSampling, PoissonSampling  # noqa: PLC0415 - timed

    sampling = NoSampling() if case.rate == 1 else PoissonSampling(case.rate)
    run = Accountant().compose(GaussianEvent(case.noise, sampling), case.rounds)
    bracket = run.epsilon(case.delta)
    return bracket.low, bracket.high


def _prv(case: Case, width: float) -> tuple[float, float]:
    prv = importlib.import_module("prv_accountant")
    mechanism = prv.PoissonSubsampledGaussianMechanism(
        noise_multiplier=case.noise, sampling_probability=case.rate
    )
    accountant = prv.PRVAccountant(
        mechanism,
        max_self_compositions=case.rounds,
        eps_error=width / 2,
        delta_error=case.delta / 1000,
    )
    low, _, high = accountant.compute_epsilon(case.delta, case.rounds)
    return float(low), float(high)


def _pld_at(case: Case, mesh: float, *, upper: bool) -> float:
    pld = importlib.import_module("dp_accounting.pld.privacy_loss_distribution")
    one = pld.from_gaussian_mechanism(
        case.noise,
        sampling_prob=case.rate,
        pessimistic_estimate=upper,
        value_discretization_interval=mesh,
        use_connect_dots=upper,
    )
    return float(one.self_compose(case.rounds).get_epsilon_for_delta(case.delta))


def _rdp(case: Case, width: float) -> tuple[float, float]:
    del width
    accountants = importlib.import_module("opacus.accountants")
    accountant = accountants.RDPAccountant()
    accountant.history = [(case.noise, case.rate, case.rounds)]
    return 0.0, float(accountant.get_epsilon(case.delta))


def _gdp(case: Case, width: float) -> tuple[float, float]:
    del width
    accountants = importlib.import_module("opacus.accountants")
    accountant = accountants.GaussianAccountant()
    accountant.history = [(case.noise, case.rate, case.rounds)]
    return 0.0, float(accountant.get_epsilon(case.delta, poisson=True))


_SIMPLE: dict[str, Callable[[Case, float], tuple[float, float]]] = {
    "ours": _ours,
    "prv": _prv,
    "rdp": _rdp,
    "gdp": _gdp,
}
_MODULES = {"ours": "dp", "prv": "prv_accountant", "rdp": "opacus.accountants"}
_MODULES |= {"gdp": "opacus.accountants", "pld": "dp_accounting.pld.privacy_loss_distribution"}


def _answer(who: str, case: Case, width: float) -> Answer:
    """The width is absolute, in ε; for "pld-upper" it is the largest ε that is near enough."""
    if who in _SIMPLE:
        start = time.process_time()
        low, high = _SIMPLE[who](case, width)
        return Answer(low, high, time.process_time() - start)
    for mesh in _MESHES:  # only the mesh that suffices counts
        start = time.process_time()
        high = _pld_at(case, mesh, upper=True)
        low = _pld_at(case, mesh, upper=False) if who == "pld" else 0.0
        spent = time.process_time() - start
        if (high - low if who == "pld" else high) <= width:
            return Answer(low, high, spent)
    return Answer(0.0, None, spent, failure="no mesh reaches the width")


def main() -> None:
    """Answer questions from standard input, one line each."""
    who = sys.argv[1]
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    warnings.filterwarnings("ignore")
    logging.disable(logging.CRITICAL)
    importlib.import_module(_MODULES[who.removesuffix("-upper")])
    for line in sys.stdin:
        question: dict[str, Any] = json.loads(line)
        width = question.pop("width")
        try:
            found = _answer(who, Case(**question), width)
        except Exception as error:  # noqa: BLE001 - any exception of a peer is its answer
            found = Answer(0.0, None, 0.0, failure=f"{type(error).__name__}: {error}"[:200])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(asdict(found) | {"memory_mib": peak}), flush=True)


if __name__ == "__main__":
    main()
