"""The worst case at the edge of capacity: one ciphertext n times, n the most that its layout allows.

`python -m tests.he.support.edge` runs a million coordinates for each scheme and width, in under a minute.
"""

import sys

import numpy as np

import he
from he.coding import packing, words
from he.coding.plaintexts import decode, encode
from he.crypto.rlwe import Decryptor, SymmetricEncryptor
from he.errors import CapacityError
from he.params import MODULUS
from he.scheme import the_ring

WIDTHS = (2, 8, 16, 20, 32)


def fields(n_clients, bits, scheme):
    """Fields a limb, 0 where nothing fits: what must not shrink on the way to the edge."""
    try:
        params = he.Params.for_sum(n_clients, max_abs=2 ** (bits - 1), scheme=scheme)
    except CapacityError:
        return 0
    return params.fields / params.limbs


def last_of_its_layout(n_clients, bits, scheme):
    """The parameters of the largest n that packs as many integers as n_clients do."""
    target, low, high = fields(n_clients, bits, scheme), n_clients, 2**20 + 1
    while high - low > 1:
        middle = (low + high) // 2
        enough = middle <= 2**20 and fields(middle, bits, scheme) >= target
        low, high = (middle, high) if enough else (low, middle)
    return he.Params.for_sum(low, max_abs=2 ** (bits - 1), scheme=scheme)


def worst_case_is_exact(params, length, seed=0):
    """Encrypt extremes, add the ciphertext to itself n times, open, compare every digit."""
    key = the_ring().generate_key()
    encryptor, decryptor = SymmetricEncryptor(key), Decryptor(key)
    rng = np.random.default_rng(seed)
    step = 16 * params.values_per_ciphertext
    for number, start in enumerate(range(0, length, step)):
        size = min(step, length - start)
        vector = rng.choice([-params.max_abs, params.max_abs, 0, 1], size)
        vector[: size // 4] = params.max_abs
        parts = encryptor.encrypt(
            encode(packing.pack(vector, params), params), bytes(32), 16 * number
        )
        bits = params.word_bits
        parts = words.restore_low_bits(words.drop_low_bits(parts, bits), bits)
        phase = decryptor.phase(parts, [bytes(32)], 16 * number)
        # n·(c0 + c1·s) is n·c0 + n·c1·s: adding n times, without the loop
        many = phase.astype(object) * params.n_clients % MODULUS
        many = np.where(many > MODULUS // 2, many - MODULUS, many).astype(np.int64)
        slots = decode(many, params, contributors=params.n_clients)
        opened = packing.unpack(slots, params, contributors=params.n_clients)
        if not np.array_equal(opened[:size], params.n_clients * vector):
            return False
    return True


def main(length):
    for scheme in ("ckks", "bfv"):
        for bits in WIDTHS:
            for n_clients in (10, 1000):
                params = last_of_its_layout(n_clients, bits, scheme)
                exact = worst_case_is_exact(params, length)
                sys.stdout.write(f"{scheme} {bits} bits, n = {params.n_clients}: exact {exact}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
