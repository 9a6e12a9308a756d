"""Triton kernels, and the functions that launch them on CUDA tensors.

Under TRITON_INTERPRET=1 the same functions run on CPU tensors, slowly, which is how they are
tested where there is no GPU. Sums are in float32 whatever the dtype of the tensors.
"""

from fastff.kernels.cuda.experts import chosen_experts_backward, chosen_experts_with_hidden
from fastff.kernels.cuda.node_tree import node_tree_with_path
from fastff.kernels.cuda.node_tree_backward import node_tree_backward
from fastff.kernels.cuda.route import route

__all__ = [
    "chosen_experts_backward",
    "chosen_experts_with_hidden",
    "node_tree_backward",
    "node_tree_with_path",
    "route",
]
