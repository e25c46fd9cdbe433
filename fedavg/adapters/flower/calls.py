"""One stage over a Flower grid: push the messages, and pull replies until all are there or time is over."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flwr.app import Message
    from flwr.serverapp import Grid

__all__ = ["exchanged"]

_FIRST, _LONGEST = 0.02, 1.0  # seconds between two pulls; Flower's own loops wait 3 s


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
    began, pause = time.monotonic(), _FIRST
    replies: dict[int, Message] = {}
    while waiting:
        for message in grid.pull_messages(waiting):
            asked = message.metadata.reply_to_message_id
            waiting.discard(asked)
            replies[places.get(asked, message.metadata.src_node_id)] = message
        left = None if timeout is None else began + timeout - time.monotonic()
        if not waiting or (left is not None and left <= 0):
            break
        time.sleep(pause if left is None else min(pause, left))
        pause = min(2 * pause, _LONGEST)
    return replies
