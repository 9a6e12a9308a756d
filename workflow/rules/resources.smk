# What jobs ask of a cluster, in one place. A profile changes it for one rule by `set-resources`.

# a limit of submitted jobs, `--jobs`, is given where there is a cluster
ON_CLUSTER = workflow.resource_settings.nodes is not None

if (
    workflow.resource_settings.cores is not None
    and workflow.resource_settings.cores < 1
):
    raise WorkflowError("--cores 0 starts no job; allowed is at least 1, or all")

if ON_CLUSTER and CONFIG.device == "auto":
    raise WorkflowError(
        "device = 'auto': the machine that submits jobs can't tell what those have that run them;"
        " give --config device=cuda (each training and benchmark asks for a GPU) or device=cpu"
    )

# Memory in MB of the first attempt, and minutes, well above what `fastff costs` measures.
NEEDS = {
    "train": {"mem_mb": 8000, "runtime": 720, "gpu": int(HAS_GPU)},
    "collect": {"mem_mb": 2000, "runtime": 20},
    # With a node to itself: what else runs there would be timed too.
    "bench": {
        "mem_mb": 16000,
        "runtime": 240,
        "gpu": int(HAS_GPU),
        "slurm_extra": "--exclusive",
    },
    "draw": {"mem_mb": 2000, "runtime": 20},
    "ledger": {"mem_mb": 4000, "runtime": 60},
}


def needs(rule):
    """Return the resources of a rule's jobs; each further attempt asks for more memory."""
    first = NEEDS[rule]["mem_mb"]
    return NEEDS[rule] | {"mem_mb": lambda wildcards, attempt: attempt * first}


def submitted_as(group):
    """Return the group of short jobs that a cluster gets as one, to wait in its queue once.

    Elsewhere there is none, so that a dry run shows each of them.
    """
    return group if ON_CLUSTER else None
