"""What a run of a config will take, before anything starts."""
