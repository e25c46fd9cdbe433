"""Only what examples/flower uses of Flower 1.42."""

from collections.abc import Callable

from flwr.clientapp.typing import ClientAppCallable, Mod

class ClientApp:
    def __init__(self, *, mods: list[Mod] | None = None) -> None: ...
    def train(self) -> Callable[[ClientAppCallable], ClientAppCallable]: ...
    def evaluate(self) -> Callable[[ClientAppCallable], ClientAppCallable]: ...
