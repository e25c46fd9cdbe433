"""Questions about a privacy budget before there is a run: noise, epsilon, and what makes it unbounded."""
