"""Parameters of a session: the numbers that parties agree on, and their derivation from exact tails."""
