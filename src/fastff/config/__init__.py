"""What config files can say, as validated, frozen values, and what a run makes of them.

These are all that the engine reads. The package imports no torch, so that a workflow can validate a
config in a moment. Nothing is imported here: who needs a part of it doesn't depend on the others.
"""
