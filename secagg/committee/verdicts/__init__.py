"""The verdict on reports: which contributions and members are left out, and who is convicted."""
