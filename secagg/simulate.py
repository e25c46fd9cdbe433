"""The whole protocol in one process; read this page first."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, cast

import secagg
from secagg.crypto.keys import Directory, Identity, check_client_id
from secagg.errors import Aborted, LocalProtocolError
from secagg.guards.calls import leaving_nothing
from secagg.guards.checks import instance, mapping

if TYPE_CHECKING:
    from collections.abc import Mapping
    from concurrent.futures import Executor

    import numpy as np
    from numpy.typing import NDArray

    from secagg.params.params import Params
    from secagg.roles.client.client import Client
    from secagg.roles.server.server import SumResult
    from secagg.session.state import Phase

__all__ = ["simulate"]


@leaving_nothing
def simulate(
    inputs: Mapping[int, NDArray[np.int64]],
    params: Params,
    *,
    drop: Mapping[Phase, AbstractSet[int]] | None = None,
    transcript: list[tuple[str, int, bytes]] | None = None,
    executor: Executor | None = None,
) -> SumResult:
    """Sum the inputs; the server and the clients exchange bytes only.

    Args:
        inputs: client id to int64[d].
        params: parameters of the session; `params.n_clients` is the number of inputs.
        drop: phase to the clients that send nothing from that phase on.
        transcript: filled with (phase, client id, bytes) for every message to the server.
        executor: executor of threads, to compute masks of long vectors on several cores.

    The clients accept the parameters without a `Policy` of their own, because the caller draws the cohort.

    Returns:
        The sum over the clients whose masked inputs arrived.

    Raises:
        Aborted: too few clients remained.
        CapacityError: an input has another shape or type, or a coordinate is out of range.
        LocalProtocolError: the number of inputs is wrong, or an argument has another type.

    Example:
        >>> import numpy as np
        >>> from secagg.params.params import Params
        >>> inputs = {i: np.array([i, -i, 7], dtype=np.int64) for i in range(4)}
        >>> simulate(inputs, Params.for_cohort(4, 3, max_abs=10)).total.tolist()
        [6, -6, 28]
    """
    inputs, params, drop = _checked(inputs, params, drop)
    if transcript is not None:
        instance("transcript", transcript, list)
    context = b"secagg.simulate"
    silent: set[int] = set()

    # Beforehand: every client has an identity, and knows the identities of all others.
    identities = {client: Identity.generate() for client in inputs}
    directory = Directory({client: identity.public for client, identity in identities.items()})

    # Message 0: the server offers parameters; clients that find them safe join with new keys.
    server = secagg.Server(params, context=context, directory=directory, executor=executor)
    offer = server.offer()
    policy = secagg.Policy(
        directory_corrupt_rate=0.0,
        min_directory_share=0.0,
        allow_semi_honest=params.threat_model == "semi-honest",
        allow_local=params.local,
    )
    clients = {
        client: secagg.Client.from_offer(
            offer,
            client,
            identity,
            directory,
            context=context,
            policy=policy,
            executor=executor,
        )
        for client, identity in identities.items()
    }
    for client, vector in inputs.items():
        clients[client].set_input(vector)

    # Messages 1 … 11.  In each phase the live clients answer, and the server closes it and sends the next:
    # AdvertiseKeys → roster → ShareKeys → forwarded shares → SharesOpened → partners → MaskedInput →
    # survivors → signature → signatures → UnmaskShares.
    pending: dict[int, bytes | None] = dict.fromkeys(inputs)
    while server.phase is not secagg.Phase.DONE:
        phase = server.phase
        silent |= drop.get(phase, set())
        for client, message in pending.items():
            if client in silent:
                continue
            try:
                reply = _answer(clients[client], message)
            except Aborted:  # its neighbours have dropped out, so this client drops out too
                silent.add(client)
                continue
            if transcript is not None:
                transcript.append((phase.value, client, reply))
            server.receive(client, reply)
        pending = dict(server.advance())
    return server.result()


def _answer(client: Client, message: bytes | None) -> bytes:
    return client.start() if message is None else client.receive(message) or b""


def _checked(
    inputs: object, params: object, drop: object
) -> tuple[dict[int, NDArray[np.int64]], Params, dict[Phase, set[int]]]:
    """Check the arguments' types; a drop-out with an unknown id is refused, since it would have no effect."""
    items = mapping("inputs", inputs)
    vectors = {check_client_id(client): cast("NDArray[np.int64]", x) for client, x in items}
    session = instance("params", params, secagg.Params)
    if len(vectors) != session.n_clients:
        raise LocalProtocolError(
            f"params are for {session.n_clients} clients, and {len(vectors)} inputs are given"
        )
    silent: dict[Phase, set[int]] = {}
    for phase, given in mapping("drop", {} if drop is None else drop):
        clients = cast("AbstractSet[object]", instance("drop", given, AbstractSet))
        silent[instance("drop", phase, secagg.Phase)] = {
            check_client_id(client) for client in clients
        }
    if unknown := set().union(*silent.values()) - vectors.keys():
        raise LocalProtocolError(f"client {min(unknown)} is to drop out, and has no input")
    return vectors, session, silent
