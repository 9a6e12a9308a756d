"""The sizes of a timed call, and what it has to move and compute at least."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class CompulsoryWork:
    """What one call can't do without.

    Attributes:
        bytes: every input, output and touched weight moved once.
        flops: additions and multiplications.

    """

    bytes: int
    flops: int

    def __add__(self, other: CompulsoryWork) -> CompulsoryWork:
        """Return the work of both, one after the other."""
        return CompulsoryWork(self.bytes + other.bytes, self.flops + other.flops)


@dataclass(frozen=True)
class Rates:
    """What a device does at most: bytes and floating-point operations per second."""

    bytes: float
    flops: float

    def roofline(self, work: CompulsoryWork) -> float:
        """Return the seconds that `work` takes at the rate that limits it."""
        return max(work.bytes / self.bytes, work.flops / self.flops)


@dataclass(frozen=True)
class Shape:
    """Sizes of one call.

    Attributes:
        batch: number of inputs.
        in_features: size of an input.
        hidden_features: of one expert, or of a layer without experts.
        out_features: size of an output.
        depth: of the tree, or log2 of the number of experts; 0 for a layer without either.
        top_k: experts per input.
        activation: of hidden units.
        itemsize: bytes of a number.
        has_experts: a node-only tree has a depth, but no experts.

    """

    batch: int
    in_features: int
    hidden_features: int
    out_features: int
    depth: int
    top_k: int
    activation: str
    itemsize: int
    has_experts: bool = True

    @property
    def n_experts(self) -> int:
        """2**depth, or 1 without experts."""
        return 1 << self.depth if self.has_experts else 1

    @property
    def moved(self) -> int:
        """Numbers of all inputs and outputs."""
        return self.batch * (self.in_features + self.out_features)

    def visited_nodes(self, levels: int) -> int:
        """Return the most nodes that the batch can visit in a tree of so many levels."""
        return sum(min(2**level, self.batch) for level in range(levels))

    def of_experts(self) -> CompulsoryWork:
        """Return the work of the chosen experts alone; their outputs are summed."""
        touched = min(self.n_experts, self.batch * self.top_k)
        expert = self.hidden_features * (self.in_features + self.out_features)
        flops = 2 * self.batch * self.top_k * expert
        return CompulsoryWork(self.itemsize * (self.moved + touched * expert), flops)

    def of_linear_gate(self) -> CompulsoryWork:
        """Return the work of one logit per expert, without inputs and outputs."""
        weights = self.n_experts * self.in_features
        return CompulsoryWork(self.itemsize * weights, 2 * self.batch * weights)

    def of_descent(self, levels: int) -> CompulsoryWork:
        """Return the work of one logit per level, without inputs and outputs."""
        touched = self.visited_nodes(levels) * self.in_features
        return CompulsoryWork(self.itemsize * touched, 2 * self.batch * levels * self.in_features)

    def as_dense(self) -> Shape:
        """Return the sizes of the feed-forward layer: all experts of the point as one."""
        return replace(self, depth=0, top_k=1)

    def as_node_tree(self) -> Shape:
        """Return the sizes of a node-only tree of this depth: every node is a hidden unit."""
        return replace(self, hidden_features=2 ** (self.depth + 1) - 1, has_experts=False)

    def of_node_tree(self) -> CompulsoryWork:
        """Return the work of a node-only tree: one unit per level, the leaves' included."""
        levels = self.depth + 1
        node = self.in_features + self.out_features
        touched = self.visited_nodes(levels) * node
        return CompulsoryWork(
            self.itemsize * (self.moved + touched), 2 * self.batch * levels * node
        )
