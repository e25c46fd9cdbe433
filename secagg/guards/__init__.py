"""Guards of public calls: checks of arguments, one call at a time, and facts that are recorded once."""
