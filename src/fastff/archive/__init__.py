"""Results that travel: a run's results as one file, with checksums, and as an RO-Crate."""
