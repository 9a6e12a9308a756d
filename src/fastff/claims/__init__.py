"""The ledger: what was published, what the runs here say of it, and by which rule."""
