"""The messages of a sum by a committee, as values and as bytes."""
