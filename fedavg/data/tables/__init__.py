"""Tables: files of rows, the schema that describes their columns, and the encoding of their cells."""
