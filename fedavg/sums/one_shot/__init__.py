"""OneShot: each client encrypts under a key of its own for one sum, and only the sum of the keys opens."""

from __future__ import annotations

from fedavg.sums.one_shot.committee import member_material, public_material
from fedavg.sums.one_shot.part import OneShot

__all__ = ["OneShot", "member_material", "public_material"]
