"""The bytes of a sum by a committee."""
