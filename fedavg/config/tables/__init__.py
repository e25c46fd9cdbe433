"""The tables of a configuration: typed, frozen structs with defaults."""
