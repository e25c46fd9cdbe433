"""The server: one question for each party, one answer of each, and a time-out for every stage.

Run: python examples/embed_http/server.py demo/server --rounds 3
"""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress
from pathlib import Path  # noqa: TC003 - typer reads it

import numpy as np
import typer
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from fedavg.adapters.polling import Board, begin_round, read_agreement
from fedavg.protocol.driver import PROTOCOL_ERRORS

app = typer.Typer(pretty_exceptions_enable=False)
HOLD = 10.0  # seconds for which a poll without news is held open


class Exchange:
    """The board of the open round; it is lost with the process, and the round with it."""

    board: Board

    def __init__(self, folder: Path, stage_timeout: float) -> None:
        self.folder, self.timeout = folder, stage_timeout
        self.agreed = read_agreement(folder)
        self.addresses, self.side = self.agreed.addresses, self.agreed.server_side()
        self.clients = sorted(self.agreed.clients)
        self.limit = 2**20 + 16 * self.agreed.vector_length  # bytes of an answer
        self.model = np.zeros(self.agreed.vector_length, "<i8")  # the last sum; yours is a model
        if (folder / "model.npy").exists():
            self.model = np.load(folder / "model.npy")
        self.turn, self.news, self.complete = asyncio.Lock(), asyncio.Event(), asyncio.Event()

    async def ask(self, request: Request) -> Response:
        """GET /{party}?seen={ticket}: the open question, the same for every poll; b"" without news."""
        party, seen = request.path_params["party"], request.query_params.get("seen", "")
        if (question := self.board.question(self.addresses.get(party), seen)) is None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.news.wait(), HOLD)
            question = self.board.question(self.addresses.get(party), seen)
        return Response(question or b"")

    async def answer(self, request: Request) -> Response:
        """POST /{party}: an answer, once or again; returns the verdict in words."""
        body = bytearray()
        with suppress(ClientDisconnect):
            async for part in request.stream():
                body += part
                if len(body) > self.limit:
                    return Response("longer than any answer")
        async with self.turn:
            party = self.addresses.get(request.path_params["party"])
            verdict = await asyncio.to_thread(self.board.answer, party, bytes(body))
            if self.board.complete:
                self.complete.set()
        return Response(verdict.value)

    async def round(self, number: int) -> str:
        """One sum; returns what became of it."""
        content = self.model.tobytes()  # the same for every client, or they are in no common sum
        spec, began, going = self.agreed.spec(number, content), time.monotonic(), True
        try:
            self.board = Board(self.side.session(spec, self.clients), number, content)
            while going:
                self.complete.clear()
                self.news.set()  # polls that are held open return
                self.news = asyncio.Event()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self.complete.wait(), self.timeout)
                async with self.turn:
                    going = await asyncio.to_thread(self.board.advance)
            found = self.board.result()
        except PROTOCOL_ERRORS as error:
            return f"no sum: {error}"
        np.savez(self.folder / f"sum-{number}", total=found.total, survivors=found.survivors)
        self.model = found.total.astype("<i8")
        np.save(self.folder / "model.npy", self.model)
        return f"{len(found.survivors)} clients in the sum, {time.monotonic() - began:.2f} s"

    async def run(self, rounds: int) -> None:
        """Round after round; `begin_round` keeps their numbers on the disk."""
        for _ in range(rounds):
            number = begin_round(self.folder)
            print(f"round {number}: {await self.round(number)}", flush=True)


async def serve(exchange: Exchange, port: int, rounds: int) -> None:
    """Answer requests until the rounds are over; parties show certificates of the operator."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=exchange.folder / "ca.crt")
    tls.load_cert_chain(exchange.folder / "tls.crt", exchange.folder / "tls.key")
    tls.verify_mode = ssl.CERT_REQUIRED
    routes = [Route("/{party}", exchange.ask), Route("/{party}", exchange.answer, methods=["POST"])]
    config = uvicorn.Config(Starlette(routes=routes), port=port, log_level="warning")
    config.timeout_graceful_shutdown = 1
    config.load()
    config.ssl = tls
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())
    await exchange.run(rounds)
    server.should_exit = True
    exchange.news.set()
    await serving


@app.command()
def main(folder: Path, port: int = 8443, rounds: int = 3, stage_timeout: float = 30.0) -> None:
    """Run the server for some rounds."""
    asyncio.run(serve(Exchange(folder, stage_timeout), port, rounds))


if __name__ == "__main__":
    app()
