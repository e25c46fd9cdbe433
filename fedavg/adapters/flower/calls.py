"""One stage over a Flower grid: push the messages, and pull replies until all are there or time is over."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flwr.app import Message
    from flwr.serverapp import Grid

__all__ = ["exchanged"]

_SHORTEST, _LONGEST, _SHARE = 0.02, 1.0, 0.1
"""Seconds between two pulls: a tenth of the time so far, within bounds. Flower's own loops wait 3 s."""


def exchanged(grid: Grid, messages: Iterable[Message], timeout: float | None) -> dict[int, Message]:
    """Send messages, one to a node, and return the replies by node.

    Replies that come later than the time-out are left to the server's own expiry.

    Args:
        grid: Flower's grid.
        messages: the messages.
        timeout: seconds; None waits for all.
    """
    pushed = list(messages)
    waiting = {found for found in grid.push_messages(pushed) if found}
    # A reply that Flower makes up, for a node that died, does not come from that node.
    places = {message.metadata.message_id: message.metadata.dst_node_id for message in pushed}
    began = time.monotonic()
    replies: dict[int, Message] = {}
    while waiting:
        for message in grid.pull_messages(waiting):
            asked = message.metadata.reply_to_message_id
            waiting.discard(asked)
            replies[places.get(asked, message.metadata.src_node_id)] = message
        took = time.monotonic() - began
        left = math.inf if timeout is None else timeout - took
        if not waiting or left <= 0:
            break
        time.sleep(min(left, max(_SHORTEST, min(_LONGEST, _SHARE * took))))
    return replies
