"""One offline page: all text is escaped, and its security policy names its two scripts by hash."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from plotly import graph_objects
from plotly.offline import get_plotlyjs

from fedavg.errors import ReportError

__all__ = ["payload", "render_page"]


def render_page(template: str, **content: object) -> str:
    """A page that needs no network and runs only its own two scripts.

    Args:
        template: file name of the template in `fedavg/reports/templates`.
        content: values for the template's names, beside style and scripts.

    Raises:
        ReportError: the package's templates are missing.
    """
    # Names from the data end up in the page, so all text is escaped and a missing value is an error.
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
    # The scripts are part of the page, so that it works without a network and asks nobody for them.
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
    """The hash of a script for the page's content security policy, which allows no other script."""
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def payload(figure: dict[str, Any]) -> str:
    r"""A figure as JSON that is safe inside a script element.

    Args:
        figure: traces under "data" and the layout under "layout", as Plotly's JSON has them.

    Raises:
        ReportError: a property that Plotly does not know; a browser would leave it out without a word.

    Example:
        >>> print(payload({"data": [{"type": "bar", "x": ["<b>"], "y": [1]}], "layout": {}}))
        {"data":[{"type":"bar","x":["\u003cb>"],"y":[1]}],"layout":{}}
    """
    text = json.dumps(figure, separators=(",", ":"), allow_nan=False)
    try:
        graph_objects.Figure(json.loads(text))  # of a copy, since Plotly changes what it is given
    except (ValueError, TypeError) as error:
        raise ReportError(f"a figure that Plotly does not take: {error}") from error
    # A "</script>" inside a name would otherwise end the script element.
    return text.replace("<", "\\u003c")
