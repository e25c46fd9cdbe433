"""One offline page: all text escaped, and two scripts, named by hash in its own security policy."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from fedavg.errors import ReportError

__all__ = ["payload", "render_page"]


def render_page(template: str, **content: object) -> str:
    """A page that needs no network and runs nothing but its own two scripts.

    Args:
        template: its file in `fedavg/reports/templates`.
        content: what the template names, beside style and scripts.

    Raises:
        ReportError: the package's templates are missing.
    """
    environment = Environment(
        loader=PackageLoader("fedavg.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    loader = environment.loader
    if loader is None:
        raise ReportError("the page's templates are missing: reinstall the package")
    scripts = {
        "plotly_js": get_plotlyjs(),
        "page_js": loader.get_source(environment, "report.js")[0],
    }
    return environment.get_template(template).render(
        **content,
        style=loader.get_source(environment, "report.css")[0],
        script_hashes=[_csp_hash(text) for text in scripts.values()],
        **scripts,
    )


def _csp_hash(script: str) -> str:
    """Name a script for the page's content security policy: these two run, nothing else does."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def payload(figure: dict[str, Any]) -> str:
    """A figure as JSON that can stand inside a script element."""
    return json.dumps(figure, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
