"""`fastff plan`: the command."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from fastff.cli.arguments import add_config, positive


def add_plan(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to a parser's sub-commands."""
    parser = commands.add_parser(
        "plan",
        help="say what a run of a config would take, before anything starts",
        description="Print runs, jobs, GPU-hours, CPU-hours, disk and peak memory of every "
        "experiment and benchmark of a config, and the time on the clock. Work is counted from the "
        "models themselves; rates are fitted to costs that were measured, here on the machines of "
        "results/reference, or with --costs on yours.",
    )
    add_config(parser, what="what would be run")
    parser.add_argument(
        "--device",
        choices=["auto", "cpu", "cuda"],
        help="where it would train (default: what the config says; auto: a GPU if there is one)",
    )
    parser.add_argument(
        "--cores",
        type=positive,
        default=os.cpu_count(),
        help="CPU cores at once, of the machine or the cluster (default: this machine's)",
    )
    parser.add_argument("--gpus", type=positive, default=1, help="GPUs at once (default: 1)")
    parser.add_argument(
        "--costs",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="what `fastff costs` wrote of runs on your machine, in place of the reference's; "
        "with --device cuda, of runs that trained on its GPU",
    )
    parser.add_argument(
        "--root", type=Path, default=Path(), help="the repository (default: the current folder)"
    )
    parser.add_argument("--output", type=Path, help="write the table to this CSV file, too")
    parser.set_defaults(run=_plan)


def _plan(options: argparse.Namespace) -> int:
    from fastff.config.load import load_config
    from fastff.files import atomic_path
    from fastff.plan.estimate import make_plan
    from fastff.plan.report import report
    from fastff.plan.sources import basis
    from fastff.train.device import choose_device

    config = load_config(options.configfile)
    device = options.device or config.device
    if device == "auto":
        device = choose_device(device).type
    measured = basis(options.root, device, options.costs)
    plan = make_plan(config, device, measured, cores=options.cores, gpus=options.gpus)
    if options.output is not None:
        with atomic_path(options.output) as path:
            plan.table.to_csv(path, index=False, float_format="%.4g")
    sys.stdout.write(report(plan, measured, device, cores=options.cores, gpus=options.gpus))
    return 0
