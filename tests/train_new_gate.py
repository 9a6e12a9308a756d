"""Run by test_add_a_gate.py: plans and trains a config's variant, and prints what it finds."""

import json
import sys
from pathlib import Path

import torch

import fastff
from blobs import blobs
from fastff.config.load import load_config
from fastff.train.job import train
from fastff.workflow.measured import training_work

torch.set_num_threads(1)
data = blobs()
config = load_config(Path(sys.argv[1]))
(spec,) = config.train_specs("trial")
(work,) = training_work(config, "trial", "cpu")
(stacked,) = train([spec], data, runs_per_stack=2)
(alone,) = train([spec], data, runs_per_stack=1)
result = next(iter(stacked.values()))
gradients = result.gradients.parts
found = {
    "package": fastff.__file__,
    "parts": {part: len(windows[0]) for part, windows in gradients.items()},
    "planned": work.runs,
    "trained": len(stacked),
    "largest_gradient": max(max(window) for window in gradients["gate"]),
    "stacked": repr(stacked),
    "alone": repr(alone),
    "accuracy": result.test_accuracy_hard,
    "n_experts": sum(map(any, result.snapshots[-1].expert_counts[0])),
}
print(json.dumps(found))
