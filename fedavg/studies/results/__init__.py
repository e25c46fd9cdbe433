"""The results of a study: its table, its pictures, its page, and what went wrong."""
