"""Local training on torch: the loop, its step rules, and the checks of a model before it trains."""
