"""The mod of a ClientApp: every request is checked at the node, and an update goes into a secure sum only."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from fedavg.adapters.engines import FLOWER
from fedavg.adapters.exchange import Node, RefusedRequestError, Stage
from fedavg.adapters.exchange.vectors.layout import content_digest
from fedavg.adapters.flower import records
from fedavg.adapters.flower.declared import mismatch, ours
from fedavg.errors import ConfigError, FedAvgError
from fedavg.parts.nearest import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flwr.app import Context, Message
    from flwr.clientapp.typing import ClientAppCallable, Mod

    from fedavg.adapters.exchange.messages import Request, Round
    from fedavg.adapters.exchange.vectors.layout import Arrays

__all__ = ["FOLDER_KEY", "NodeSilentError", "secure_mod"]

FOLDER_KEY = "fedavg-folder"
"""Key of `--node-config` for a node's own folder; no other key that begins like it is ours."""

_log = logging.getLogger("flwr")


class NodeSilentError(FedAvgError):
    """A node sends nothing in a round, for a reason that stays in its own log.

    Flower sends the text of an exception to the server, and a text about data would be a message about data.

    Example:
        >>> str(NodeSilentError("this node sends nothing; its own log says why"))
        'this node sends nothing; its own log says why'
    """


def secure_mod(folder: str | os.PathLike[str] | None = None) -> Mod:
    """A mod that lets records leave a node through secure sums only.

    Give it as the first of `ClientApp(mods=[…])`, for all functions of the app. Requests of the later stages
    of a sum are answered by the mod, and do not reach the app.

    Args:
        folder: the node's own folder, with its keys, agreement and journal, and in a masked sum its state
            between two messages, for nodes whose operator names none, as in a simulation. Variables of the
            environment and keys of the node's configuration are filled in: "$KEYS/{partition-id}". The folder
            that an operator names comes first: `--node-config 'fedavg-folder="/srv/node3"'`.

    Raises:
        MissingExtraError: Flower is missing, or of another version.

    Example:
        >>> from flwr.clientapp import ClientApp  # doctest: +SKIP
        >>> app = ClientApp(mods=[secure_mod()])  # doctest: +SKIP
    """
    FLOWER.version()

    def mod(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
        try:
            node = Node.open(_folder(folder, context.node_config))
            return _answered(node, message, context, call_next)
        except RefusedRequestError as error:
            # Its text says nothing about data, and tells the server's operator what differs.
            _log.warning("this node refuses a request: %s", error)
            # Anew, because Flower and Ray print all that an error came from, and the reason last.
            raise RefusedRequestError(str(error)) from None
        except Exception as error:  # noqa: BLE001 - also that of the user's own function
            _log.exception("this node sends nothing in this round: %s", _reason(error))
            raise NodeSilentError(
                "this node sends nothing in this round; its own log says why"
            ) from None

    return mod


def _answered(
    node: Node, message: Message, context: Context, call_next: ClientAppCallable
) -> Message:
    """The reply to a message of the server."""
    from flwr.app import Message, RecordDict  # noqa: PLC0415 - an optional engine

    kind = message.metadata.message_type
    data = records.taken(message.content)
    if data is None:
        raise RefusedRequestError(
            f"the server asks for {kind!r} outside of a secure sum, and nothing leaves this node otherwise: "
            "give the strategy a SecureGrid"
        )
    request, facts = node.read(data, run=str(context.run_id), kind=kind)
    if request.stage is Stage.CONTRIBUTE:
        reply = _contributed(node, (request, facts), message, (context, call_next))
    else:
        reply = node.answer(request, facts)
    return Message(RecordDict({records.KEY: records.carrying(reply)}), reply_to=message)


def _contributed(
    node: Node,
    asked: tuple[Request, Round],
    message: Message,
    app: tuple[Context, ClientAppCallable],
) -> bytes:
    """Join the round, run the user's own function, and encrypt what it returns."""
    if differs := mismatch(app[0].run_config, node.agreement.terms):
        raise RefusedRequestError(differs)
    del message.content[records.KEY]
    _, arrays = records.arrays_of(message.content)
    settings = records.settings_of(message.content, app[0].run_config)
    try:
        part = node.join(*asked, arrays, settings)
    except RefusedRequestError:
        if content_digest(arrays, settings) == asked[0].content:
            raise
        raise RefusedRequestError(
            "the request names another model, other settings or another run config than this node was "
            "given: nodes that are told different things enter no sum. If all are told the same, make the "
            "grid of the ServerApp with its config: SecureGrid(grid, agreement, context.run_config)"
        ) from None
    try:
        return part.send(*_trained(message, app))
    except KeyboardInterrupt:  # the operator's own
        raise
    except BaseException as error:  # noqa: BLE001 - also that of the user's own function, or its sys.exit
        # A node that is silent would say that one of its values is beyond a range.
        _log.exception("this node enters the sum without a record: %s", _reason(error))
        return part.send_nothing()


def _trained(
    message: Message, app: tuple[Context, ClientAppCallable]
) -> tuple[Arrays, Mapping[str, object]]:
    """Arrays and metrics that the user's own function returns."""
    context, call_next = app
    done = call_next(message, context)
    if done.has_error():
        raise ConfigError(f"the app replied with an error: {done.error.reason}")
    _, arrays = records.arrays_of(done.content)
    return arrays, records.metrics_of(done.content)


def _reason(error: BaseException) -> str:
    """An error in one line, for the first line of a log; the traceback follows it."""
    return f"{type(error).__name__}: {error}"


def _folder(given: str | os.PathLike[str] | None, config: Mapping[str, object]) -> Path:
    """The node's own folder: the app's code comes with the run, so that the operator's word counts first."""
    # A slip in the key must not leave the choice of the folder to the app.
    if unknown := [key for key in config if ours(key) and key != FOLDER_KEY]:
        raise ConfigError(
            f"the node's configuration has an unknown key {unknown[0]!r}: the key of its folder is "
            f"{FOLDER_KEY!r} (--node-config '{FOLDER_KEY}=\"…\"')"
        )
    named = config.get(FOLDER_KEY)
    if named is not None:
        return Path(str(named)).expanduser()
    if given is None:
        near = nearest(FOLDER_KEY, config)
        meant = f". Is {near[0]!r} meant to be {FOLDER_KEY!r}?" if near else ""
        raise ConfigError(
            f"this node has no folder with keys: start it with --node-config '{FOLDER_KEY}=\"…\"', or "
            f"give secure_mod a folder{meant}"
        )
    named = os.path.expandvars(given)
    try:
        return Path(named.format_map(config))
    except (KeyError, ValueError, IndexError) as error:
        raise ConfigError(
            f"the folder {named!r} names a key that the node's configuration lacks: {error}"
        ) from None
