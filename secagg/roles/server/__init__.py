"""The server of a session: it checks and adds inputs, removes the masks, and names who cheats."""
