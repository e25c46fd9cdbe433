"""What a run prints before it begins, and while it proceeds."""
