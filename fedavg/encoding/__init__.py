"""Encodings: real updates to integers and back, and the wire form of the broadcast model."""

from fedavg.encoding.fixed_point import FixedPoint, bits_for
from fedavg.encoding.quantised import Quantised

__all__ = ["FixedPoint", "Quantised", "bits_for"]
