"""Small language models, and a text that they can learn."""

from __future__ import annotations

import torch

from fastff.config.language import LanguageSpec
from fastff.config.language_models import NAMED_LAYERS, LanguageModel
from fastff.language.model import Decoder
from fastff.language.text import Text

VARIANTS = (*NAMED_LAYERS, "dense_24", "dense_3", "node_trees_1x3", "node_trees_3x2")
CONTEXT = 16


def specs(*variants: str, **changes: object) -> dict[str, LanguageSpec]:
    """Return the specs of small decoders by variant."""
    recipe = {"steps": 40, "batch_size": 8, "warm_up": 4, "learning_rate": 1e-2,
              "evaluate_every": 10, "evaluated_windows": 4, "final_windows": 8}  # fmt: skip
    model = LanguageModel(
        title="Small",
        text="own_text",
        decoder={"n_layers": 2, "width": 16, "n_heads": 2, "context": CONTEXT, "dropout": 0.1},
        recipe=recipe | changes.pop("recipe", {}),
        depth=2,
        hidden_features=6,
        seeds=[0, 1],
        variants=list(variants),
        generated=5,
        **changes,
    )
    return {spec.variant.name: spec for spec in model.specs("small")}


def decoder(variant: str, seed: int = 0) -> Decoder:
    """Return a decoder in float64 and evaluation mode."""
    spec = specs(variant)[variant]
    drawn = Decoder(spec.decoder, spec.variant, torch.Generator().manual_seed(seed))
    return drawn.double().eval()


def text() -> Text:
    """Return a text with a rule: a line of letters, each twice, again and again."""
    content = torch.tensor([*b"aabbccddee ffgghh\n"] * 60, dtype=torch.uint8)
    return Text("own_text", content[:900], content[900:], "0" * 64)
