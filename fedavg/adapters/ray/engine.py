"""Ray behind the few calls of `fedavg.adapters.ray.interface.Engine`; the only module that imports it.

Ray is imported when a cluster is joined, so that everything else works without it.
"""

from __future__ import annotations

import os
import re
from functools import partial
from typing import TYPE_CHECKING, Any

from fedavg.adapters.engines import RAY
from fedavg.adapters.ray.interface import LostError
from fedavg.errors import LocalProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["RayEngine", "join"]

_STORE = 512 << 20  # bytes of the object store of a cluster that this program starts
_SPREAD = "SPREAD"
_LOOPBACK = "127.0.0.1"


class RayEngine:
    """The cluster that this program has joined.

    Args:
        ours: whether this program joined it here, and leaves it at the end.
    """

    def __init__(self, *, ours: bool) -> None:
        import ray  # noqa: PLC0415 - an optional dependency, after its guard

        self._ray = ray
        self._ours = ours
        self._functions: dict[Callable[..., bytes], Any] = {}

    def processors(self) -> float:
        """See `Engine.processors`."""
        return float(self._ray.cluster_resources().get("CPU", 0.0))

    def submit(
        self, function: Callable[..., bytes], arguments: Sequence[object], retries: int
    ) -> Any:  # noqa: ANN401 - Ray's reference
        """See `Engine.submit`."""
        remote = self._functions.get(function)
        if remote is None:
            made = self._ray.remote(num_cpus=1, max_retries=retries, scheduling_strategy=_SPREAD)
            remote = self._functions[function] = made(function)
        return remote.remote(*arguments)

    def start(self, kind: type[object], processors: float) -> Any:  # noqa: ANN401 - Ray's handle
        """See `Engine.start`."""
        # Ray must not restart the process by itself: clients come back only between two rounds.
        made = self._ray.remote(
            num_cpus=processors, max_restarts=0, max_task_retries=0, scheduling_strategy=_SPREAD
        )
        return made(kind).remote()

    def call(self, actor: Any, method: str, arguments: Sequence[object]) -> Any:  # noqa: ANN401 - as above
        """See `Engine.call`."""
        return getattr(actor, method).remote(*arguments)

    def store(self, data: bytes) -> Any:  # noqa: ANN401 - as above
        """See `Engine.store`."""
        return self._ray.put(data)

    def ready(self, tickets: Sequence[Any], timeout: float | None) -> Sequence[Any]:
        """See `Engine.ready`."""
        found, _ = self._ray.wait(list(tickets), num_returns=1, timeout=timeout)
        return found

    def answer(self, ticket: Any) -> bytes:  # noqa: ANN401 - as above
        """See `Engine.answer`."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(ticket)
        # The traceback of another process is not carried on: its lines would name nothing of this one.
        except errors.RayTaskError as error:
            raise LocalProtocolError(f"a process of Ray: {_last_line(error)}") from None
        except errors.RayError as error:
            raise LostError(f"{type(error).__name__}: {_reason(error)}") from None

    def cancel(self, ticket: Any) -> None:  # noqa: ANN401 - as above
        """See `Engine.cancel`."""
        self._ray.cancel(ticket, force=True)

    def end(self, actor: Any) -> None:  # noqa: ANN401 - as above
        """See `Engine.end`."""
        self._ray.kill(actor, no_restart=True)

    def close(self) -> None:
        """See `Engine.close`."""
        if self._ours:
            self._ray.shutdown()


def join() -> RayEngine:
    """Use the cluster that the caller has joined, join that of RAY_ADDRESS, or start one on this machine.

    A cluster of another program on this machine is never joined unasked: it would be given private data.  One
    that is started here listens on 127.0.0.1 only, has no dashboard and sends no statistics.

    Raises:
        MissingExtraError: Ray is not installed, or in another version.
        LocalProtocolError: there is no cluster at RAY_ADDRESS, it is an address of Ray Client, or a cluster
            that is started here would listen on other addresses.
    """
    RAY.version()
    address = os.environ.get("RAY_ADDRESS", "")
    if not address:
        # Ray reads this once, when it is imported: it then takes 127.0.0.1 for the address of this machine.
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    import ray  # noqa: PLC0415 - an optional dependency, after its guard

    if ray.is_initialized():
        return RayEngine(ours=False)
    # Without this setting Ray warns about a change of a default that concerns no part of this package.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    start = partial(ray.init, log_to_driver=False, logging_level="error")
    if address:
        if "://" in address:
            raise LocalProtocolError(
                f"RAY_ADDRESS is {address}, a proxy of Ray Client: run the program on a node of the cluster, "
                "with RAY_ADDRESS=auto"
            )
        try:
            start(address=address)
        except ConnectionError as error:
            raise LocalProtocolError(
                f"there is no Ray cluster at RAY_ADDRESS={address}: start it (ray start --head), or unset "
                "RAY_ADDRESS for a cluster on this machine alone"
            ) from error
        return RayEngine(ours=True)
    if ray.util.get_node_ip_address() != _LOOPBACK:
        raise LocalProtocolError(
            "Ray was imported before, and a cluster of this program would listen on every address of this "
            "machine: set RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0 before that, or call ray.init first"
        )
    # Ray reports its usage to its makers by default; a program for private data does not.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    start(
        address="local",
        include_dashboard=False,
        object_store_memory=_STORE,
    )
    return RayEngine(ours=True)


def _reason(error: Exception) -> str:
    """Ray's first line, and the error that it quotes at the end, if any."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or ["no reason"]
    quoted = lines[-1] if re.match(r"[\w.]+Error: ", lines[-1]) and len(lines) > 1 else ""
    return "; ".join(part for part in (lines[0], quoted) if part)


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or ["no reason"])[-1].strip()
