"""Only what fedavg.adapters.flower uses of Flower 1.42."""

from collections.abc import Callable

from flwr.app import Context, Message

ClientAppCallable = Callable[[Message, Context], Message]
Mod = Callable[[Message, Context, ClientAppCallable], Message]
