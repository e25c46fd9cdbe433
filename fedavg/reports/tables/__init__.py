"""The data of a simulation and the schema of a table, for people."""
