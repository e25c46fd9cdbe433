"""HTML pages as tests read them: what is visible, what is drawn, what would be loaded."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any

_VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """Tags, attributes and visible text.

    Raises:
        AssertionError: tags that do not nest.
    """

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.feed(source)
        self.close()
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.scripts.append(data)
        elif self.open and self.open[-1] != "style":
            self.text.append(data)

    @property
    def words(self) -> str:
        """Everything that is read, with single spaces."""
        return re.sub(r"\s+", " ", " ".join(self.text))

    def figures(self) -> dict[str, dict[str, Any]]:
        """Plotly figures by the place that they are drawn in."""
        sources = [attrs for tag, attrs in self.tags if tag == "script"]
        named = zip(sources, self.scripts, strict=True)
        return {str(a["data-for"]): json.loads(text) for a, text in named if "data-for" in a}

    def assert_offline(self) -> None:
        """Nothing is loaded from anywhere."""
        asks = {"src", "href", "srcset", "data"}
        assert not [attrs for _, attrs in self.tags if asks & set(attrs)]
        policy = next(
            attrs for _, attrs in self.tags if attrs.get("http-equiv") == "Content-Security-Policy"
        )
        assert str(policy["content"]).startswith("default-src 'none'")
        assert "script-src 'sha256-" in str(policy["content"])
