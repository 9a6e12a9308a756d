"""The training engine: many runs of one shape as one batched computation."""
