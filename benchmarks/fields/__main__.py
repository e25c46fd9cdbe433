"""The suite's own command, `python -m benchmarks fields [FIELD]`."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from benchmarks.fields.catalogue import FIELDS
from benchmarks.kit.command import begin, finish, set_environment
from benchmarks.kit.options import add_common

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one field after the other; 1 when a bar is missed and --check is given, else 0."""
    set_environment()
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks fields",
        description="One table for each field: pooled, alone, federated, and with privacy of persons or "
        "records, over five seeds. Results go to fields_NAME.json, which "
        "`python -m benchmarks document --page docs/fields.md` puts on that page.",
    )
    names = tuple(FIELDS)
    parser.add_argument("field", nargs="*", choices=[*names, []], help="default: all of them")
    add_common(parser)
    options = parser.parse_args(arguments)
    from benchmarks import fields  # noqa: PLC0415 - after the environment is set

    status = 0
    for name in options.field or names:
        bench = begin(f"fields_{name}", options)
        fields.run(bench, [name])
        status = max(status, finish(bench, options))
    return status


if __name__ == "__main__":
    sys.exit(main())
