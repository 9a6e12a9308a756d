"""FastFF: fast feed-forward and mixture-of-experts layers, compared."""
