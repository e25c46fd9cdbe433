"""What a node uploads for a model, beside what plain Flower uploads: 32 bits a parameter.

Run: python examples/flower/upload_size.py
"""

import numpy as np

from fedavg import FixedPoint, OneShot
from fedavg.adapters.exchange import Agreement, MeanServer, Node, NodeKeys, Record, Terms


class Journal(set[bytes]):
    """As long as this process lives."""

    def add(self, fact: bytes, /) -> bool:  # type: ignore[override]
        """Record a fact; False if it was there."""
        new = fact not in self
        super().add(fact)
        return new


def main(nodes: int = 10, parameters: int = 1_000_000, bits: int = 20) -> None:
    """One node's contribution to one round."""
    record = Record(FixedPoint(1.0, bits, rounding="nearest"))
    chosen = OneShot(committee=nodes, corrupt_members=1, absent_members=1)
    keys = [NodeKeys.generate(node) for node in range(nodes)]
    terms = Terms(chosen, {"train": record}, max_weight=10_000)
    agreement = Agreement.among(terms, [one.card for one in keys])
    model = {"w": np.zeros(parameters, np.float32)}
    server = MeanServer(agreement, "run", 1, "train", nodes, model)
    node = Node(agreement, keys[0], Journal())
    part = node.join(*node.read(server.request, run="run", kind="train"), model)
    reply = part.send(model, {"num-examples": 5000})
    plain = 4 * parameters
    print(f"{len(reply):,} bytes for {parameters:,} parameters of {nodes} nodes at {bits} bits")
    print(f"{len(reply) / plain:.2f} of plain Flower's {plain:,}")


if __name__ == "__main__":
    main()
