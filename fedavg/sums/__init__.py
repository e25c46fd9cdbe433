"""Secure sums: how a plan adds integer vectors that the server must not see one by one."""
