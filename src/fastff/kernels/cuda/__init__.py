"""Triton kernels, and the functions that launch them on CUDA tensors.

Under TRITON_INTERPRET=1 the same functions run on CPU tensors, slowly, which is how they are
tested where there is no GPU. Sums are in float32 whatever the dtype of the tensors.
"""
