"""The tables of runs: their columns, and how they are joined, read and printed."""
