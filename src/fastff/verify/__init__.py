"""Do two result trees say the same? Byte by byte, or within the intervals of their seeds."""
