"""Secure sums: a plan uses one to add integer vectors without showing single vectors to the server."""
