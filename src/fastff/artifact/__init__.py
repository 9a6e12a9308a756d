"""What a reader needs to judge and repeat the results: measured costs, and the appendix."""
