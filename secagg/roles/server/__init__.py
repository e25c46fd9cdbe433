"""The server of a session."""
