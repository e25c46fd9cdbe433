"""Encodings: real updates to integers and back, and the wire form of the broadcast model."""

from fedavg.encoding.fixed_point import FixedPoint, bits_for
from fedavg.encoding.quantised import Quantised
from fedavg.encoding.random_k import RandomK

__all__ = ["FixedPoint", "Quantised", "RandomK", "bits_for"]
