"""Tables: files of rows, the schema that says what their columns are, and what becomes of the cells."""
