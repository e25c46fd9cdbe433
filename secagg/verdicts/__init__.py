"""Who is shown to cheat, by what evidence, and who goes when that cannot be told."""
