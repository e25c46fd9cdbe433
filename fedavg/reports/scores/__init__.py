"""How scores are read, drawn and worded."""
