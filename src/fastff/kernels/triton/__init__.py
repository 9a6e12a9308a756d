"""Triton kernels, and the functions that launch them on CUDA tensors.

Under TRITON_INTERPRET=1 the same functions run on CPU tensors, slowly, which is how they are
tested where there is no GPU. Sums are in float32 whatever the dtype of the tensors.
"""

from fastff.kernels.triton.descent import route
from fastff.kernels.triton.experts import chosen_experts_backward, chosen_experts_with_hidden
from fastff.kernels.triton.node_tree import node_tree_with_path
from fastff.kernels.triton.node_tree_backward import node_tree_backward

__all__ = [
    "chosen_experts_backward",
    "chosen_experts_with_hidden",
    "node_tree_backward",
    "node_tree_with_path",
    "route",
]
