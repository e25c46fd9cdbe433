"""Schemas of tables: their files, and how one is proposed from the rows."""
