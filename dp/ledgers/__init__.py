"""Ledgers: a hard budget, charged before each release, in memory or in a file that several runs share.

Nothing is imported here: what writes files safely (`durable`) loads without the accountants.
"""
