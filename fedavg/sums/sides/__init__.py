"""The sides of a sum: what a client, a key holder and the parties beside them do in it."""
