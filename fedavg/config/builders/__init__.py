"""What a run is made of, each built from its table of the configuration."""
