"""The commands of `fedavg` that pages, help texts and examples show."""

from __future__ import annotations

import re
import shlex

import typer

from fedavg.cli.app import app
from tests.arch.tree import ROOT

PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "examples").rglob("*.md"),
    *(ROOT / "examples").rglob("*.toml"),
]
COMMAND = re.compile(
    r"^(?:#\s+)?(?:\$ (?:time )?)?(?:\.venv/bin/)?fedavg ([a-z-].*)$", re.MULTILINE
)


def leaves(command, *path):
    """Each command without commands of its own, by its words."""
    inner = getattr(command, "commands", None)
    if inner is None:
        return {path: command}
    return {
        words: leaf
        for name, one in inner.items()
        for words, leaf in leaves(one, *path, name).items()
    }


LEAVES = leaves(typer.main.get_command(app))


def blocks(text):
    """The parts of a page that show commands of a shell, each command in one line."""
    fence = r"^```(?:sh|bash|console)\n(.*?)^```"
    fenced = re.findall(fence, text, flags=re.MULTILINE | re.DOTALL)
    return re.sub(r" *\\\n *", " ", "\n".join(fenced))


def documented():
    """Pairs of a place and a command's words."""
    for page in sorted(PAGES):
        text = page.read_text(encoding="utf-8")
        shown = text if page.suffix == ".toml" else blocks(text)
        for line in COMMAND.findall(shown):
            yield page.relative_to(ROOT).as_posix(), shlex.split(line, comments=True)
    for path, leaf in LEAVES.items():
        for line in re.findall(r"^fedavg (.*)$", leaf.epilog or "", flags=re.MULTILINE):
            # A comment stands behind two blanks or more.
            yield f"fedavg {' '.join(path)} --help", shlex.split(re.split(r" {2,}", line)[0])


SHOWN = list(documented())
