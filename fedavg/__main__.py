"""`python -m fedavg`: the command `fedavg`, where its script is not on the path."""

from __future__ import annotations

from fedavg.cli import main

if __name__ == "__main__":
    main()
