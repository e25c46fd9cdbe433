"""What a node uploads for a model, beside what plain Flower uploads: 32 bits a parameter.

Run: python examples/flower/upload_size.py
"""

import tempfile
from pathlib import Path

import numpy as np

from fedavg import FixedPoint, OneShot, SecAgg
from fedavg.adapters.exchange import MeanServer, Node, Record, Terms, enrol_here


def main(nodes: int = 10, parameters: int = 1_000_000, bits: int = 20) -> None:
    """All messages of one node in one round, by each sum."""
    committee = OneShot(committee=nodes, corrupt_members=1, absent_members=1)
    plain = 4 * parameters
    for chosen in (committee, SecAgg()):
        sizes = uploads(chosen, nodes, parameters, bits)
        total = sum(sizes)
        print(
            f"{chosen.kind}: {total:,} bytes in {len(sizes)} messages, {total / plain:.2f} of {plain:,}"
        )


def uploads(chosen: OneShot | SecAgg, nodes: int, parameters: int, bits: int) -> list[int]:
    """Sizes of the messages of node 0, in order."""
    record = Record(FixedPoint(1.0, bits, rounding="nearest"))
    model = {"w": np.zeros(parameters, np.float32)}
    with tempfile.TemporaryDirectory() as folder:
        agreement = enrol_here(Path(folder), nodes, Terms(chosen, {"train": record}, 10_000))
        server = MeanServer(agreement, "run", 1, "train", nodes, model)
        sizes: list[int] = []
        requests = dict.fromkeys(range(nodes), server.request)
        while requests:
            for number, request in requests.items():
                node = Node.open(Path(folder) / str(number))
                asked = node.read(request, run="run", kind="train")
                if request == server.request:
                    reply = node.join(*asked, model).send(model, {"num-examples": 5000})
                else:
                    reply = node.answer(*asked)
                server.receive(reply, number)
                sizes += [len(reply)] if number == 0 else []
            requests = server.advance()
    return sizes


if __name__ == "__main__":
    main()
