"""Language models: a decoder over bytes, trained with each of several feed-forward layers."""
