"""Benchmarks: what is measured, how, and on which machine."""
