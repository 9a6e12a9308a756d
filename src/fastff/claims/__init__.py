"""The ledger: which claims of the papers hold for the results of a config, and by which rule."""
