"""How a variant is drawn: the same colour, dashes and marker in every figure."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import seaborn as sns

from fastff.config.base import Spec
from fastff.config.model import BottleneckSpec, PartSpec, RoutedSpec, Variant
from fastff.config.presets import PRESETS

# Places in seaborn's colour-blind palette, most distinct first; yellow and pale pink are left
# out, for they vanish on paper.
ORDER = (1, 7, 3, 0, 2, 4, 9, 5)
SOLID: tuple[float, ...] = ()
EXPERTS_STYLE: dict[str, tuple[tuple[float, ...], str]] = {
    "mixture": (SOLID, "o"),
    "soft_merged": ((3.0, 1.2), "s"),
}
LAYER_STYLE: tuple[tuple[float, ...], str] = ((5.0, 1.0), "d")  # of a layer without experts
NEXT_MARKERS = "<>P*phH8"
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

    Of the presets the gate gives the colour, in their order, and the experts give dashes and
    marker: variants that differ in one of the two share the other. The forms of a tree gate that
    compute the same weights are one gate, a layer without experts counts as a gate, and sizes
    don't count. Any other variant gets dashes and markers that no preset has, by a
    hash of its name; only where two names of a figure meet on one look does the later name move
    on to the next.
    """
    colours = palette()
    known = _preset_looks(colours)
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


def core(variant: Variant) -> Spec:
    """Return what a variant's colour stands for: its gate, or its layer where it has none."""
    part = _part(variant)
    if not isinstance(part, RoutedSpec):
        sizes = {"hidden_features": None, "depth": None, "n_trees": 1}
        fields = type(part).model_fields
        return part.model_copy(update={key: x for key, x in sizes.items() if key in fields})
    return part.gate.drawn_as()


def _part(variant: Variant) -> PartSpec:
    model = variant.model
    return model.routed if isinstance(model, BottleneckSpec) else model


def _preset_looks(colours: list[str]) -> dict[str, Look]:
    """Return the looks of the presets; one that is taken changes its marker."""
    cores = {name: core(variant) for name, variant in PRESETS.items()}
    places: dict[Spec, int] = {}
    # layers start half-way through the palette: they are mostly drawn beside the first gates
    for start, routed in ((0, True), (len(colours) // 2, False)):
        found = [
            cores[name] for name, v in PRESETS.items() if (_part(v).kind == "routed") == routed
        ]
        places |= {spec: start + place for place, spec in enumerate(dict.fromkeys(found))}
    given: dict[str, Look] = {}
    for name, variant in PRESETS.items():
        part = _part(variant)
        colour = colours[places[cores[name]] % len(colours)]
        dashes, marker = LAYER_STYLE
        if isinstance(part, RoutedSpec):
            dashes, marker = EXPERTS_STYLE.get(part.experts.kind, OTHER_STYLES[0])
        taken = {look.marker for look in given.values() if look.colour == colour}
        free = [mark for mark in (marker, *NEXT_MARKERS) if mark not in taken]
        given[name] = Look(colour, dashes, free[0] if free else marker)
    return given
