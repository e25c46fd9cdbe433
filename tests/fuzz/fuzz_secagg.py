"""The targets under atheris: `python -m tests.fuzz.fuzz_secagg -max_total_time=600 tests/fuzz/corpus/secagg`.

Needs the extra `fuzz`. A finding is written to the working directory; replay it by giving its path.
"""

from __future__ import annotations

import importlib
import sys


def main():
    """Instrument both protocol packages and hand over to libFuzzer, which takes the arguments."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["secagg", "he"]):
        targets = importlib.import_module("tests.fuzz.targets")
    options = [
        option
        for name, option in (("-max_len", "-max_len=4096"), ("-rss_limit_mb", "-rss_limit_mb=1024"))
        if not any(argument.startswith(name + "=") for argument in sys.argv)
    ]
    atheris.Setup([*sys.argv, *options], targets.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
