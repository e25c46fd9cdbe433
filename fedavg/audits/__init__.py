"""Audits: canary clients that try to refute a plan's claim."""
