"""The server: one round, the global model, and rounds that are tried again; key holders and openers."""
