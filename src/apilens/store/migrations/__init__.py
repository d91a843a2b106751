"""How the state database came to its present form; run by `open_store`."""
