"""The cases, and their tables, curve and bars."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from benchmarks.compression.task import CLIENTS, Outcome, Setting, Traffic
from benchmarks.kit.measure import Curve, Measure, Table
from fedavg.algorithms.error_feedback import ErrorFeedback
from fedavg.algorithms.random_k import RandomK
from fedavg.encoding.broadcast import FORMATS
from fedavg.encoding.quantised import Quantised

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.kit.bench import Bench

__all__ = ["cases", "run"]

_EXACT = "20 bits, to nearest"
_NARROW = "2 bits, rotated"


def cases(setting: Setting, bits: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    """What each case changes of a plan that sends 20 bits of every parameter, by name."""
    found: dict[str, dict[str, Any]] = {_EXACT: {}}
    for width, rotate, feedback in product(bits, (False, True), (False, True)):
        clip = setting.norm if rotate else setting.flat_range
        encoding = Quantised(clip, width, rotate)
        found[_name(width, rotate=rotate, feedback=feedback)] = {
            "encoding": encoding,
            "stages": _stages(feedback=feedback),
        }
    for percent, feedback in product((1, 10, 50), (False, True)):
        name = f"random {percent} %{', feedback' if feedback else ''}"
        found[name] = {"stages": _stages(RandomK(percent / 100), feedback=feedback)}
    found["random 10 %, 4 bits, rotated"] = {
        "stages": (RandomK(0.1),),
        "encoding": Quantised(setting.norm * 0.1**0.5, 4, rotate=True),
    }
    for kind in FORMATS[1:]:
        found[f"download {kind}"] = {"broadcast": kind}
    return found


def _stages(*chosen: RandomK, feedback: bool) -> tuple[ErrorFeedback | RandomK, ...]:
    return (ErrorFeedback(), *chosen) if feedback else chosen


def _name(bits: int, *, rotate: bool, feedback: bool) -> str:
    unit = "bit" if bits == 1 else "bits"
    return f"{bits} {unit}{', rotated' if rotate else ''}{', feedback' if feedback else ''}"


def run(bench: Bench, setting: Setting) -> None:
    """Train, measure and tabulate."""
    bits = bench.pick(quick=(2,), default=(1, 2, 4, 8, 16, 32), full=(1, 2, 3, 4, 6, 8, 16, 32))
    chosen = cases(setting, bits)
    outcomes: dict[str, Outcome] = {}
    traffic: dict[str, dict[str, Traffic]] = {}
    with bench.progress("compression", len(chosen) * (setting.seeds + 2)) as tick:
        for name, changes in chosen.items():
            results = []
            for seed in range(setting.seeds):
                results.append(setting.train(seed, **changes))
                tick()
            outcomes[name] = setting.outcome(results)
            traffic[name] = {}
            for kind in ("secagg", "bfv"):
                traffic[name][kind] = setting.traffic(kind, **changes)
                tick()
    _tables(bench, setting, outcomes, traffic)
    _curve(bench, outcomes, traffic)
    _measures(bench, outcomes, traffic)
    _wide(bench, setting, bits)


def _tables(
    bench: Bench,
    setting: Setting,
    outcomes: Mapping[str, Outcome],
    traffic: Mapping[str, Mapping[str, Traffic]],
) -> None:
    columns = ("what goes up", "secagg, up B/param", "bfv, up B/param", "accuracy", "worst", "loss")
    rows = [
        (
            name,
            traffic[name]["secagg"].up,
            traffic[name]["bfv"].up,
            *_accuracy(outcome),
        )
        for name, outcome in outcomes.items()
        if not name.startswith("download")
    ]
    title = (
        f"uploads of {CLIENTS} clients, {setting.parameters:,} parameters, {setting.rounds} rounds, "
        f"{setting.seeds} seeds; {setting.beyond:.2%} of a first round's coordinates lie beyond the range "
        "without a rotation"
    )
    bench.add(Table("uploads", title, columns, rows))
    columns = (
        "how the model comes down",
        "model B/param",
        "bfv, down B/param",
        "secagg, down B/param",
        "accuracy, full precision",
        "worst",
        "loss",
        "accuracy as sent",
    )
    rows = [
        (
            "float32" if name == _EXACT else name.removeprefix("download "),
            traffic[name]["bfv"].model,
            traffic[name]["bfv"].down,
            traffic[name]["secagg"].down,
            *_accuracy(outcome),
            "–" if outcome.as_sent is None else f"{outcome.as_sent:.1%}",
        )
        for name, outcome in outcomes.items()
        if name == _EXACT or name.startswith("download")
    ]
    bench.add(Table("downloads", "downloads of a client", columns, rows))


def _wide(bench: Bench, setting: Setting, bits: tuple[int, ...]) -> None:
    """What a width costs where keys, shares and a last ciphertext's empty places hardly count."""
    changes: dict[str, dict[str, Any]] = {_EXACT: {}}
    for width in bits:
        changes[_name(width, rotate=False, feedback=False)] = {"encoding": Quantised(1.0, width)}
    changes["random 10 %, 2 bits"] = {
        "encoding": Quantised(1.0, 2),
        "stages": (RandomK(0.1),),
    }
    ups: dict[str, dict[str, float]] = {}
    with bench.progress("a million parameters", 2 * len(changes)) as tick:
        for name, change in changes.items():
            ups[name] = {}
            for kind in ("secagg", "bfv"):
                ups[name][kind] = setting.widely(kind, **change).up
                tick()
    rows = [(name, up["secagg"], up["bfv"]) for name, up in ups.items()]
    columns = ("what goes up", "secagg, up B/param", "bfv, up B/param")
    title = f"uploads of {CLIENTS} clients, a million parameters, equal weights"
    bench.add(Table("uploads_wide", title, columns, rows))
    lines = {
        kind: [
            (float(width), ups[_name(width, rotate=False, feedback=False)][kind]) for width in bits
        ]
        for kind in ("secagg", "bfv")
    }
    bench.add(Curve("width", "upload by width", "bits", "bytes a parameter", lines, fit_from=4.0))
    for kind, bar, reach in (("secagg", 4.5, 4.8), ("bfv", 4.5, 5.5)):
        ours = ups["2 bits"][kind]
        bench.add(
            Measure(
                f"upload_{kind}",
                f"upload with 2 bits, {kind}, a million parameters: times less than {_EXACT}",
                "B/param",
                ours=ours,
                ratio=ups[_EXACT][kind] / ours,
                bar=bench.bar(bar, reach),
                note="all messages of a client, keys and shares included",
            )
        )


def _accuracy(outcome: Outcome) -> tuple[str, str, float]:
    return f"{outcome.accuracy:.1%}", f"{min(outcome.accuracies):.1%}", outcome.loss


def _curve(
    bench: Bench,
    outcomes: Mapping[str, Outcome],
    traffic: Mapping[str, Mapping[str, Traffic]],
) -> None:
    lines: dict[str, list[tuple[float, float]]] = {}
    for name, outcome in outcomes.items():
        if name.startswith("download") or name == _EXACT:
            continue
        first = "random places" if name.startswith("random") else "bits"
        line = first + "".join(f", {part}" for part in ("rotated", "feedback") if part in name)
        lines.setdefault(line, []).append((traffic[name]["secagg"].up, outcome.loss))
    lines = {line: sorted(points) for line, points in lines.items() if len(points) > 1}
    title = "loss by upload under secagg"
    bench.add(Curve("loss", title, "bytes a parameter", "loss, nats", lines))


def _measures(
    bench: Bench,
    outcomes: Mapping[str, Outcome],
    traffic: Mapping[str, Mapping[str, Traffic]],
) -> None:
    exact, narrow = outcomes[_EXACT], outcomes[_NARROW]
    down = traffic[_EXACT]["bfv"].model
    bench.add(
        Measure(
            "points_lost",
            f"accuracy lost with {_NARROW}, against {_EXACT}",
            "points",
            ours=100 * (exact.accuracy - narrow.accuracy),
            bar=bench.bar(1.0, 0.5, of="ours", at_most=True),
        )
    )
    for kind, bar, reach in (("float16", 1.9, 2.0), ("int8", 3.8, 3.9), ("int4", 7.0, 7.5)):
        ours = traffic[f"download {kind}"]["bfv"].model
        bench.add(
            Measure(
                f"download_{kind}",
                f"download as {kind}: times less than float32",
                "B/param",
                ours=ours,
                ratio=down / ours,
                bar=bench.bar(bar, reach),
                note="the round's first message, scales included",
            )
        )
