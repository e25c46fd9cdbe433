"""Rules that combine the means of several groups into one, so that a few bad groups move little."""
