"""Silos with rows drawn from a seed, and the same rows pooled, for tests of statistics."""

import numpy as np

from fedavg.statistics import Person, Record, SiloRows, Silos, Variable

SEXES = ("F", "M", "X")
WARDS = ("A", "B", "C", "D")


def rows(rng, count, *, shift=0.0, people=None):
    """Rows of one silo: two numbers that go together, and two columns of words, with gaps."""
    age = np.clip(rng.gamma(6, 9, count) + shift, 0, 120)
    dose = np.clip(0.3 * age + rng.normal(0, 8, count), -50, 100)
    sex = rng.choice(3, count, p=[0.55, 0.43, 0.02]).astype(float)
    ward = rng.choice(4, count, p=[0.5, 0.3, 0.17, 0.03]).astype(float)
    for values, share in ((age, 0.05), (sex, 0.02), (ward, 0.01)):
        values[rng.random(count) < share] = np.nan
    owner = np.arange(count) if people is None else rng.integers(0, people, count)
    return SiloRows({"age": age, "dose": dose, "sex": sex, "ward": ward}, owner)


def variables(*, bounds=True):
    ends = {"age": (0.0, 120.0), "dose": (-50.0, 100.0)} if bounds else {}
    numbers = [Variable(name, bounds=ends.get(name)) for name in ("age", "dose")]
    return (*numbers, Variable("sex", SEXES), Variable("ward", WARDS))


def silos(seed=0, sizes=(200, 500, 800, 300, 400), *, bounds=True, people=None, most_rows=None):
    rng = np.random.default_rng(seed)
    unit = Record() if people is None else Person("patient", most_rows)
    found = tuple(rows(rng, n, shift=k, people=people) for k, n in enumerate(sizes))
    names = tuple(f"silo {k}" for k in range(len(sizes)))
    return Silos(variables(bounds=bounds), found, names, unit)


def pooled(of):
    """By name, the values of all silos together."""
    return {v.name: np.concatenate([r.values[v.name] for r in of.rows]) for v in of.variables}
