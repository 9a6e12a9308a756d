"""The texts for language models by name, on their own, as the datasets' names are."""

SHAKESPEARE, OWN_TEXT = "shakespeare", "own_text"
TEXT_NAMES: tuple[str, ...] = (SHAKESPEARE, OWN_TEXT)
