"""Every public name of the package shows in an example what it is for."""

import inspect

import fedavg.statistics
from tests.arch.test_examples import missing


def test_every_public_class_and_function_has_an_example():
    public = {name: getattr(fedavg.statistics, name) for name in fedavg.statistics.__all__}
    assert all(inspect.isclass(value) or inspect.isfunction(value) for value in public.values())
    assert not {name: what for name, value in public.items() if (what := missing(value))}
