"""What both roles know of a session: its phases, its clients, and who is whose neighbour."""
