"""A client or a member of the committee: it polls for questions, and answers each of them once.

Run: python examples/embed_http/party.py demo/client-3
"""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path  # noqa: TC003 - typer reads it
from typing import TYPE_CHECKING

import httpx
import numpy as np
import typer

from fedavg.adapters.polling import Party, open_party
from fedavg.errors import WireFormatError
from fedavg.protocol.driver import PROTOCOL_ERRORS

if TYPE_CHECKING:
    from numpy.typing import NDArray

app = typer.Typer(pretty_exceptions_enable=False)  # a traceback with variables would print secrets
PAUSE = 0.5  # seconds between two attempts to reach the server


def update(client_id: int, number: int, length: int, content: bytes) -> NDArray[np.int64]:
    """Your training goes here; it ends in int64 within ±max_abs.

    The content is the round's model. Use nothing else of the server: it would not be in the sum's name.
    """
    if len(content) != 8 * length:
        raise WireFormatError(f"the model of round {number} has another length")
    model = np.frombuffer(content, "<i8")
    return np.arange(length, dtype=np.int64) % 1000 - 30 * client_id + number - np.sign(model)


def connect(folder: Path, server: str) -> httpx.AsyncClient:
    """TLS both ways, under certificates of the operator only."""
    tls = ssl.create_default_context(cafile=folder / "ca.crt")
    tls.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return httpx.AsyncClient(base_url=server, verify=tls, timeout=30.0)


async def follow(party: Party, name: str, http: httpx.AsyncClient) -> None:
    """Poll and answer until the process is stopped; what the network loses is sent again."""
    answer: bytes | None = None
    while True:
        try:
            if answer:
                (await http.post(f"/{name}", content=answer)).raise_for_status()
                answer = None
            polled = await http.get(f"/{name}", params={"seen": party.seen})
            if question := polled.raise_for_status().content:
                answer = party.answer(question)
        except httpx.HTTPError:
            await asyncio.sleep(PAUSE)
        except PROTOCOL_ERRORS as error:
            print(f"{name}: no answer to {party.seen}: {error}", flush=True)
            await asyncio.sleep(PAUSE)
        except Exception as error:  # noqa: BLE001 - of your `update`: zeros would be a vector like any other
            print(f"{name} ends: {type(error).__name__}: {error}", flush=True)
            raise typer.Exit(1) from None


@app.command()
def main(folder: Path, server: str = "https://localhost:8443") -> None:
    """Run one party."""
    asyncio.run(follow(open_party(folder, update), folder.name, connect(folder, server)))


if __name__ == "__main__":
    app()
