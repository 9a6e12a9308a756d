"""How a variant is drawn: the same colour, dashes and marker in every figure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import seaborn as sns

from fastff.zoo import ZOO

# Places in seaborn's colour-blind palette, most distinct first; yellow and pale pink are left
# out, for they vanish on paper.
ORDER = (1, 7, 3, 0, 2, 4, 9, 5)
SOLID: tuple[float, ...] = ()
EXPERTS_STYLE: dict[str, tuple[tuple[float, ...], str]] = {
    "mixture": (SOLID, "o"),
    "soft_merged": ((3.0, 1.2), "s"),
}
OTHER_STYLES: tuple[tuple[tuple[float, ...], str], ...] = (
    ((1.0, 1.0), "^"),
    ((1.0, 1.0), "D"),
    ((4.0, 1.0, 1.0, 1.0), "v"),
    ((4.0, 1.0, 1.0, 1.0), "X"),
)


@dataclass(frozen=True)
class Look:
    """A line: colour as `#rrggbb`, dashes in points on and off (empty: solid), and a marker."""

    colour: str
    dashes: tuple[float, ...]
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """The keywords of a matplotlib line."""
        linestyle = (0, self.dashes) if self.dashes else "-"
        return {"color": self.colour, "linestyle": linestyle, "marker": self.marker}


def looks(variants: Sequence[str]) -> dict[str, Look]:
    """Return the look of each variant, no two of them the same.

    In the zoo the gate gives the colour, in the zoo's order, and the experts give dashes and
    marker: variants that differ in one of the two share the other. Any other variant gets dashes
    and markers that no variant of the zoo has, by a hash of its name; only where two names of a
    figure meet on one look does the later name move on to the next.
    """
    colours = palette()
    known = _zoo_looks(colours)
    others = [
        Look(colour, dashes, marker)
        for (dashes, marker), colour in product(OTHER_STYLES, colours)
        if Look(colour, dashes, marker) not in known.values()
    ]
    found = {name: known[name] for name in variants if name in known}
    for name in sorted(set(variants) - set(known)):
        first = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) % len(others)
        candidates = [*others[first:], *others[:first]]
        taken = set(found.values())
        found[name] = next((look for look in candidates if look not in taken), others[first])
    return {name: found[name] for name in variants}


def palette() -> list[str]:
    """Return the colours of lines, as `#rrggbb`."""
    colours = sns.color_palette("colorblind").as_hex()
    return [str(colours[place]) for place in ORDER]


def _zoo_looks(colours: list[str]) -> dict[str, Look]:
    """Return the looks of the zoo's variants; a gate beyond the palette changes the marker."""
    gates = list(dict.fromkeys(variant.gate for variant in ZOO.values()))
    found: dict[str, Look] = {}
    for name, variant in ZOO.items():
        turn, place = divmod(gates.index(variant.gate), len(colours))
        dashes, marker = EXPERTS_STYLE.get(variant.experts.kind, OTHER_STYLES[0])
        marker = marker if turn == 0 else "P*pHh8"[(turn - 1) % 6]
        look = Look(colours[place], dashes, marker)
        found[name] = look
    return found
