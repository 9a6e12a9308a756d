"""What every layer computes, in float64, from the definitions alone: sums over experts and nodes.

Nothing of `fastff` computes here; of a layer only parameters and options are read. But a gate that
has no definition in `weights` is held against its own dense form, in float64. A part whose weight
is exactly 0 adds nothing, whatever its parameters are. `margin` tells how far an input is from
another choice, so that rounding can't change it.
"""

import functools

import torch
import torch.nn.functional as F
from torch.func import functional_call

from fastff.layers import (
    Bottleneck,
    Convolutional,
    FeedForward,
    HypercubeGate,
    LinearGate,
    LinearLayer,
    NodeTree,
    NoisyTopKGate,
    RoutedLayer,
    SoftMergedExperts,
    StridedConvolutional,
    TreeGate,
)

ACTIVATIONS = {
    "relu": torch.relu, "gelu": F.gelu, "selu": F.selu, "linear": lambda z: z,
    "logsigmoid": F.logsigmoid, "softplus": F.softplus,
}  # fmt: skip
INF = float("inf")


def spread(n):
    """Return n numbers spread over [0, 1), what the layers draw in training here: see Fixed."""
    return torch.arange(1, n + 1, dtype=torch.float64).mul(0.6180339887498949).frac()


def normal(n):
    """Return n numbers spread as the standard normal distribution."""
    return 2**0.5 * torch.erfinv(1.96 * spread(n) - 0.98)  # Inductor has no ndtri


def output(layer, x, *, hard):
    """Return the outputs (..., o) of inputs (..., i), hard or, as the layer trains, soft."""
    rows = x.double().reshape(-1, x.shape[-1])
    out = _output(layer, rows, hard)
    return out.reshape(*x.shape[:-1], out.shape[-1])


def _output(layer, x, hard):
    if isinstance(layer, Bottleneck):
        return _output(layer.head, _features(layer, x, hard), hard)
    if isinstance(layer, RoutedLayer):
        out = experts(layer.experts, x, weights(layer.gate, x, hard=hard))
        if getattr(layer, "master", None) is None:
            return out
        share = layer.mix.double().sigmoid()
        return share * out + (1 - share) * experts(layer.master, x, x.new_ones(len(x), 1))
    if isinstance(layer, FeedForward):
        return experts(layer.experts, x, x.new_ones(len(x), 1))
    if isinstance(layer, NodeTree):
        return _node_tree(layer, x)
    if isinstance(layer, LinearLayer):
        return _affine(x, layer.weight, getattr(layer, "bias", None))
    if isinstance(layer, Convolutional):
        return _convolutional(layer, x)
    if isinstance(layer, StridedConvolutional):
        return experts(layer.experts, _strided(layer, x), x.new_ones(len(x), 1))
    raise TypeError(f"{type(layer).__name__}: no definition in tests/contract/definition.py")


def weights(gate, x, *, hard):
    """Return the routing weights (b, e) of inputs (b, i), float64."""
    if isinstance(gate, TreeGate):
        return _tree_weights(gate, _logits(gate, x), hard)
    if isinstance(gate, HypercubeGate):
        z = _logits(gate, x)
        if hard:
            return F.one_hot(_corner(z), 2**gate.depth).double()
        return _kept(_corner_scores(z), gate.top_k, gate.renormalise)
    if isinstance(gate, NoisyTopKGate):
        return _kept(_noisy_logits(gate, x, hard), gate.top_k, renormalise=True)
    if isinstance(gate, LinearGate):
        z = _logits(gate, x)
        if hard and gate.top_k is None:
            return F.one_hot(z.argmax(-1), gate.n_experts).double()
        return _kept(z, gate.top_k, gate.renormalise)
    return functional_call(_Dense(gate), _float64(gate), (x, hard))


class _Dense(torch.nn.Module):
    """A gate without a definition here: its own dense form, which all others are held against."""

    def __init__(self, gate):
        super().__init__()
        self.gate = gate

    def forward(self, x, hard):
        return self.gate.route(x, hard=hard, sparse=False).dense(self.gate.n_experts, x.dtype)


def _float64(gate):
    return {f"gate.{name}": p.double() for name, p in gate.named_parameters()}


def experts(bank, x, p, activate=None):
    """Return the outputs (b, o) of inputs (b, i) with weights p (b, e), by mixing or merging."""
    hidden = torch.einsum("bi,ehi->beh", x, bank.w_in.double())
    if bank.b_in is not None:
        hidden = hidden + bank.b_in.double()
    if isinstance(bank, SoftMergedExperts):
        hidden = _weighted(p, hidden).sum(1, keepdim=True).expand_as(hidden)
    hidden = _activate(bank, hidden) if activate is None else activate(hidden)
    outputs = torch.einsum("beh,eho->beo", hidden, bank.w_out.double())
    if bank.b_out is not None:
        outputs = outputs + bank.b_out.double()
    activate = ACTIVATIONS[bank.output_activation]
    if isinstance(bank, SoftMergedExperts):
        return activate(_weighted(p, outputs).sum(1))
    return _weighted(p, activate(outputs)).sum(1)


def margin(layer, x):
    """Return how far each input (b, i) is from another choice, in logits, (b,)."""
    with torch.no_grad():
        if isinstance(layer, Bottleneck):
            x = x.double()
            features = torch.stack([_features(layer, x, hard) for hard in (False, True)])
            in_head = torch.stack([margin(layer.head, f) for f in features]).amin(0)
            return margin(layer.body, x).minimum(in_head)
        if isinstance(layer, RoutedLayer):
            return _gate_margin(layer.gate, x.double())
        if isinstance(layer, NodeTree):
            z = [x.double() @ w.double().mT for w in layer.w_in]
            trees = zip(z, _biases(layer), strict=True)
            return torch.stack([_path_margin(a + b) for a, b in trees]).amin(0)
        return x.new_full(x.shape[:1], INF, dtype=torch.float64)


def visited(z):
    """Return the nodes of each input's way down a tree with logits z (b, n): right iff z > 0."""
    ways = []
    for row in z.tolist():
        node, way = 0, []
        while node < len(row):
            way.append(node)
            node = 2 * node + (2 if row[node] > 0 else 1)
        ways.append((way, node - len(row)))
    return ways


def _logits(gate, x):
    z = _plain_logits(gate, x)
    return torch.relu(z) if gate.logit_activation == "relu" else z


def _plain_logits(gate, x):
    return _affine(x, gate.weight, getattr(gate, "bias", None))


def _features(layer, x, hard):
    """Return what the head of a bottleneck gets."""
    features = _output(layer.body, x, hard)
    return (
        _prelu(features, layer.slope)
        if layer.activation == "prelu"
        else (ACTIVATIONS[layer.activation](features))
    )


def _prelu(z, slope):
    return torch.where(z > 0, z, slope.double() * z)


def _affine(x, weight, bias):
    out = x @ weight.double().mT
    return out if bias is None else out + bias.double()


def _biases(layer):
    """Return the node biases of each tree, or zeros."""
    bias = getattr(layer, "b_in", None)
    return layer.w_in.new_zeros(len(layer.w_in), 1) if bias is None else bias.double()


def _weighted(p, values):
    """Return p (b, e) times values (b, e, ...), 0 where p is 0 whatever the value."""
    p = p.unsqueeze(-1)
    return torch.where(p == 0, 0.0, p * torch.where(p == 0, 0.0, values))


def _activate(bank, hidden):
    if bank.slope is not None:
        hidden = _prelu(hidden, bank.slope)
    else:
        hidden = ACTIVATIONS[bank.activation](hidden)
    if bank.training and bank.dropout > 0:
        hidden = hidden * (spread(hidden.shape[-1]) >= bank.dropout) / (1 - bank.dropout)
    return hidden


def _kept(scores, top_k, renormalise):
    p = scores.softmax(-1)
    if top_k is None:
        return p
    best = scores.topk(top_k, dim=-1).indices
    chosen = torch.zeros_like(p).scatter(-1, best, 1.0) * p
    return chosen / chosen.sum(-1, keepdim=True) if renormalise else chosen


def _noisy_logits(gate, x, hard):
    z = _logits(gate, x)
    if hard or not gate.training:
        return z
    return z + F.softplus(x @ gate.noise_weight.double().mT) * normal(z.shape[-1])


def _leaked(gate, z):
    if not gate.training:
        return z
    if gate.logit_dropout > 0:
        z = z * (spread(z.shape[-1]) >= gate.logit_dropout) / (1 - gate.logit_dropout)
    return torch.where(spread(z.shape[-1]) < gate.region_leak, -z, z)


def _tree_weights(gate, z, hard):
    if not hard:
        z = _leaked(gate, z)
    if hard or (gate.training and gate.hard_training):
        leaf = torch.tensor([leaf for _, leaf in visited(z.detach())], dtype=torch.long)
        return F.one_hot(leaf, gate.n_experts).double()
    return _kept(_leaf_scores(gate, z), gate.top_k, gate.renormalise)


@functools.cache
def _paths(n_leaves):
    """Return the nodes above each leaf (e, l), and whether its path goes right there."""
    nodes, rights = [], []
    for leaf in range(n_leaves):
        child, way = leaf + n_leaves - 1, []
        while child > 0:
            way.append(((child - 1) // 2, child % 2 == 0))
            child = way[-1][0]
        nodes.append([node for node, _ in way])
        rights.append([is_right for _, is_right in way])
    return torch.tensor(nodes), torch.tensor(rights)


def _leaf_scores(gate, z):
    """Return the unnormalised log-weights (b, e) of the leaves: sums along their paths."""
    a, n_nodes = ACTIVATIONS[gate.node_activation], z.shape[-1]
    nodes, is_right = _paths(n_nodes + 1)
    sides = torch.where(is_right, a(z)[:, nodes], a(-z)[:, nodes])  # (b, e, l)
    if gate.form == "learned_transition":
        columns = nodes + n_nodes * is_right
        sides = sides * gate.transition.double().gather(1, columns).clamp_min(0)
    return sides.sum(-1)


def _corner(z):
    corner = torch.zeros(len(z), dtype=torch.long)
    for column in z.unbind(-1):
        corner = 2 * corner + (column > 0)
    return corner


def _corner_scores(z):
    depth = z.shape[-1]
    return torch.stack(
        [
            sum(z[:, j] if corner >> (depth - 1 - j) & 1 else -z[:, j] for j in range(depth))
            for corner in range(2**depth)
        ],
        dim=-1,
    )


def _node_tree(layer, x):
    out = x.new_zeros(len(x), layer.w_out.shape[-1])
    trees = layer.w_in.double(), layer.w_out.double(), _biases(layer)
    for w_in, w_out, b_in in zip(*trees, strict=True):
        z = _affine(x, w_in, b_in)
        is_prelu = layer.activation == "prelu"
        hidden = _prelu(z, layer.slope) if is_prelu else ACTIVATIONS[layer.activation](z)
        for row, (way, _) in enumerate(visited(z.detach())):
            for node in way:
                out = out.index_add(0, torch.tensor([row]), hidden[row, node] * w_out[node][None])
    bias = getattr(layer, "b_out", None)
    return out if bias is None else out + bias.double()


def _convolutional(layer, x):
    images = x.unflatten(-1, layer.image_shape)
    for kernel in layer.kernels:
        images = F.max_pool2d(F.conv2d(images, kernel.double(), padding=1).relu(), 2)
    return images.flatten(1) @ layer.w_out.double().mT


def _strided(layer, x):
    images = x.unflatten(-1, layer.image_shape)
    for number in range(layer.n_convolutions):
        kernel, bias, slope = (
            getattr(layer, f"{name}_{number}").double() for name in ("kernel", "bias", "slope")
        )
        images = _prelu(F.conv2d(images, kernel, bias, stride=2, padding=1), slope)
    return images.flatten(1)


def _gate_margin(gate, x):
    margins = []
    if isinstance(gate, TreeGate):
        z = _logits(gate, x)
        margins.append(_path_margin(_plain_logits(gate, x)))
        if gate.training and gate.hard_training:
            margins.append(_path_margin(_leaked(gate, z)))
        scores = [_leaf_scores(gate, _leaked(gate, z))]
    elif isinstance(gate, HypercubeGate):
        z = _logits(gate, x)
        margins.append(_plain_logits(gate, x).abs().amin(-1))
        scores = [_corner_scores(z)]
    elif isinstance(gate, NoisyTopKGate):
        scores = [_noisy_logits(gate, x, hard) for hard in (False, True)]
    elif isinstance(gate, LinearGate):
        scores = [_logits(gate, x)]
        margins.append(_gap(scores[0], gate.top_k or 1))
    else:
        return _gap(weights(gate, x, hard=False).log(), gate.n_active)
    margins += [_gap(s, gate.top_k) for s in scores]
    return torch.stack(margins).amin(0)


def _gap(scores, k):
    """Return the distance of the k-th largest to the next, infinite where all are kept."""
    if k is None or k == scores.shape[-1]:
        return scores.new_full(scores.shape[:1], INF)
    best = scores.topk(k + 1, dim=-1).values
    return best[:, k - 1] - best[:, k]


def _path_margin(z):
    return torch.stack([row[way].abs().amin() for row, (way, _) in zip(z, visited(z), strict=True)])
