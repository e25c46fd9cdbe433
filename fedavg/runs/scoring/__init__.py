"""What is scored beside a run: held-out rows, single clients, and training without protection."""
