"""The command line `fedavg`."""

from fedavg.cli.app import app, main

__all__ = ["app", "main"]
