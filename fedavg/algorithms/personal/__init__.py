"""Models of the clients' own: one module for each method; `interface` states what each offers."""
