"""Readers of the datasets, and one prepared file per dataset.

`fastff.data.prepare.prepare` writes the file, `fastff.data.dataset.load` reads it.
"""
