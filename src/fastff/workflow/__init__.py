"""What the workflow's rules need beside the commands that they call."""
