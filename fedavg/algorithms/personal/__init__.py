"""Models of the clients' own: one module a way to get them; `interface` says what each offers."""
