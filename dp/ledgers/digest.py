"""The bytes of a ledger's file, with a digest that any accidental change of them contradicts.

The digest is SHA-256 over the content in one fixed form, and a file must have exactly that form: so a
change that JSON does not show, such as 1E-05 for 1e-05, is noticed too.  It has no key.  A person who may
write the file can also write the digest, and an older copy of the file agrees with its own.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from dp.checks import is_a
from dp.errors import InvalidParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["from_file", "to_file"]

_KEY = "digest"


def to_file(content: Mapping[str, Any]) -> bytes:
    """The file of a JSON object: its own keys, and its digest as the last one.

    Raises:
        ValueError: a number is not finite.
    """
    plain = json.dumps(content, allow_nan=False, indent=1).encode("ascii")
    entry = f',\n "{_KEY}": "{hashlib.sha256(plain).hexdigest()}"\n}}'
    return plain.removesuffix(b"\n}") + entry.encode("ascii")


def from_file(data: bytes) -> Any:  # noqa: ANN401 - the caller checks the shape
    """The content of a file of `to_file`, without the digest, or of an older file that has none.

    Raises:
        InvalidParameterError: the data are not JSON, or differ from those that `to_file` wrote.
    """
    try:
        content = json.loads(data)
        if not is_a(content, dict) or _KEY not in content:
            return content
        del content[_KEY]
        whole = to_file(content) == data
    except (ValueError, RecursionError) as cause:  # the latter of brackets in thousands of brackets
        raise InvalidParameterError(f"it is not JSON: {cause}") from cause
    if not whole:
        raise InvalidParameterError("its content does not agree with its digest")
    return content
