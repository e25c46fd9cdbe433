"""Ray without Ray: what the adapter does around it, over an engine of the tests."""
