"""A report's parts on scores, quality and fairness; and privacy curves."""
