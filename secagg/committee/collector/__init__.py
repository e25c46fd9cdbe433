"""The server of a sum by a committee."""
