"""`python -m fedavg.cli`."""

from fedavg.cli.app import main

if __name__ == "__main__":
    main()
