"""Attacks on RLWE keys: an estimate of their cost at full size, and the attack itself at toy size.

`python -m tests.hostile.he.onetime.lattice` prints how often the attack with the hints succeeds, by the
modulus.
"""

import math
import sys

import numpy as np

from he.crypto.streams import sample_binomials


def needed_block_size(degree, log2_q, key_stddev, error_stddev):
    """The smallest BKZ block size β with which the primal attack finds a key, by the 2016 estimate.

    Alkim, Ducas, Pöppelmann, Schwabe 2016 ("NewHope", section 6.3): with m samples and d = m + N + 1, the
    attack works if σ·√β ≤ δ^(2β−d−1)·Vol^(1/d). Keys narrower than errors are scaled up, which raises the
    volume.
    """
    scale = math.log2(error_stddev / key_stddev)

    def works(block):
        delta = math.log2((math.pi * block) ** (1 / block) * block / (2 * math.pi * math.e)) / (
            2 * (block - 1)
        )
        wanted = math.log2(error_stddev) + math.log2(block) / 2
        samples = np.arange(degree // 4, 3 * degree, 16)
        size = samples + degree + 1
        volume = (samples * log2_q + degree * scale) / size
        return bool((wanted <= delta * (2 * block - size - 1) + volume).any())

    low, high = 60, 4 * degree
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high


def reduced(basis, delta=0.99):
    """LLL-reduced rows, int64; small entries only."""
    basis = basis.astype(np.int64)
    size, k = len(basis), 1
    stars, norms = np.zeros(basis.shape), np.zeros(size)

    def orthogonalise(row):
        star = basis[row].astype(float)
        for _ in range(2):  # twice is enough, also for rounding
            star = star - (stars[:row] @ star / norms[:row]) @ stars[:row] if row else star
        stars[row], norms[row] = star, star @ star

    for row in range(size):
        orthogonalise(row)
    while k < size:
        for j in range(k - 1, -1, -1):
            if factor := round(float(basis[k] @ stars[j] / norms[j])):
                basis[k] -= factor * basis[j]
        orthogonalise(k)
        mu = basis[k] @ stars[k - 1] / norms[k - 1]
        if norms[k] >= (delta - mu * mu) * norms[k - 1]:
            k += 1
        else:
            basis[[k - 1, k]] = basis[[k, k - 1]]
            orthogonalise(k - 1)
            k = max(1, k - 1)
    return basis


def negacyclic_matrix(polynomial):
    """Rows x^i·a modulo x^N + 1: key @ matrix is the product by a."""
    degree = len(polynomial)
    rows = [
        np.concatenate((-polynomial[degree - i :], polynomial[: degree - i])) for i in range(degree)
    ]
    return np.array(rows)


def keys_from_hint(public, ciphertext, modulus, key_sum, error_sum):
    """The attack of all but two clients: they know p, so here c = e − a·s, and the sums over the two.

    (2s − S, 2e − E) is a short vector next to the lattice of the relation, since given the sums the key lies
    around S/2 with half of its variance. LLL finds it at toy size.

    Returns:
        int64[N], the key, or None.
    """
    degree = len(public)
    lattice = np.zeros((2 * degree + 1, 2 * degree + 1), np.int64)
    lattice[:degree, :degree] = 2 * np.eye(degree, dtype=np.int64)
    lattice[:degree, degree:-1] = 2 * (negacyclic_matrix(public) % modulus)
    lattice[degree:-1, degree:-1] = 2 * modulus * np.eye(degree, dtype=np.int64)
    lattice[-1] = np.concatenate((key_sum, error_sum - 2 * ciphertext, [5]))
    for row in reduced(lattice):
        if abs(row[-1]) == 5:
            doubled = key_sum - row[:degree] * (row[-1] // 5)
            candidate = doubled // 2
            error = ciphertext + candidate @ negacyclic_matrix(public)
            error = (error + modulus // 2) % modulus - modulus // 2
            if (
                not (doubled % 2).any()
                and np.abs(error).max() <= 21
                and np.abs(candidate).max() <= 21
            ):
                return candidate
    return None


def toy(degree, log2_q):
    """Whether the coalition finds the key of one of the two honest clients at toy size."""
    modulus = 1 << log2_q
    key, other, error, other_error = (sample_binomials(degree).astype(np.int64) for _ in range(4))
    public = np.random.default_rng(log2_q).integers(0, modulus, degree)
    ciphertext = (error - key @ negacyclic_matrix(public)) % modulus
    found = keys_from_hint(public, ciphertext, modulus, key + other, error + other_error)
    return found is not None and np.array_equal(found, key)


def shortness(degree, log2_q):
    """How many times as short the key's vector is as a random lattice's shortest one; the bound is 1.

    The vector (2s − S, 2e − E, 5) has four times the variance that the hints leave, 5.25. The others are as
    long as the Gaussian heuristic says.
    """
    size = 2 * degree + 1
    log2_volume = 2 * degree + degree * log2_q + math.log2(5)
    others = math.sqrt(size / (2 * math.pi * math.e)) * 2 ** (log2_volume / size)
    return others / math.sqrt(2 * degree * 4 * 5.25 + 25)


if __name__ == "__main__":
    tries = 40
    for degree in (8, 12):
        for log2_q in range(3, 12):
            hits = sum(toy(degree, log2_q) for _ in range(tries))
            found = f"{shortness(degree, log2_q):.2f}, {hits} of {tries}"
            sys.stdout.write(f"N={degree} q=2^{log2_q}: {found}\n")
