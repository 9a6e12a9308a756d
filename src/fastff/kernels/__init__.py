"""The fast forms of the layers: cost follows the visited nodes and chosen experts, not the width.

`reference` defines what each computes, in plain PyTorch. `cuda` and `cpu` compute it fast, `ops`
makes operators of torch of them, `functions` is what to call, and `dispatch` is how a layer in
evaluation mode comes to call it.
"""

from fastff.kernels.functions import chosen_experts, node_tree, route

__all__ = ["chosen_experts", "node_tree", "route"]
