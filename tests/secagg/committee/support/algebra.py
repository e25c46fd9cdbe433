"""Linear algebra over a prime field in Python's own integers, for attacks and for what an observer learns."""

from __future__ import annotations


def reduced(rows, p):
    """The reduced row echelon form without zero rows, and the columns of its pivots."""
    rows = [[x % p for x in row] for row in rows]
    pivots, r = [], 0
    for c in range(len(rows[0]) if rows else 0):
        at = next((i for i in range(r, len(rows)) if rows[i][c]), None)
        if at is None:
            continue
        rows[r], rows[at] = rows[at], rows[r]
        inverse = pow(rows[r][c], -1, p)
        rows[r] = [x * inverse % p for x in rows[r]]
        for i, row in enumerate(rows):
            if i != r and row[c]:
                factor = row[c]
                rows[i] = [(a - factor * b) % p for a, b in zip(row, rows[r], strict=True)]
        pivots.append(c)
        r += 1
        if r == len(rows):
            break
    return rows[:r], pivots


def kernel(rows, p):
    """A basis of the vectors that all rows map to zero."""
    form, pivots = reduced(rows, p)
    width, out = len(rows[0]), []
    for free in set(range(width)) - set(pivots):
        vector = [0] * width
        vector[free] = 1
        for row, pivot in zip(form, pivots, strict=True):
            vector[pivot] = -row[free] % p
        out.append(vector)
    return out


def learnt(observed, hidden, p):
    """What linear observations say about the columns from `hidden` on: the span without the columns before.

    Args:
        observed: rows of coefficients of unknowns; unknowns before `hidden` are uniform and independent.
        hidden: first column that is not.
        p: prime.
    """
    if not observed:
        return []
    form, pivots = reduced(observed, p)
    return [row[hidden:] for row, pivot in zip(form, pivots, strict=True) if pivot >= hidden]


def weights(known, x, p):
    """Lagrange's weights of the values at `known` for the value at x."""
    out = []
    for a in known:
        top = bottom = 1
        for b in known:
            if a != b:
                top, bottom = top * (x - b) % p, bottom * (a - b) % p
        out.append(top * pow(bottom, -1, p) % p)
    return out
