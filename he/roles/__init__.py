"""The roles of an encrypted sum: clients, the server, and the key holder."""
