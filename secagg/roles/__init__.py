"""The two roles of a session: the client and the server."""
