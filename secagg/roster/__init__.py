"""The clients of one session, and who is whose neighbour."""
