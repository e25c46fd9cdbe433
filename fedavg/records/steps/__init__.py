"""The server's part of a step: sums of groups, the mean from them, and how far one silo moves it."""
