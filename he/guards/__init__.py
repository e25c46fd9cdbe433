"""Guards of the public interface: checks of arguments, clean exceptions, and facts that are recorded once."""
