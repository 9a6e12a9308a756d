# What the ledger of claims is made of.


def claimed():
    """Return the experiments and benchmarks of the config that claims are about."""
    named = {claim.block for claim in CLAIMS.claims.values()}
    return [name for name in CONFIG.drawn() if name in named]


def claim_title():
    """Return the title of the ledger's figure: what it shows, on which data."""
    blocks = [CONFIG.drawn()[name] for name in claimed()]
    datasets = dict.fromkeys(
        block.dataset for block in blocks if hasattr(block, "dataset")
    )
    return " · ".join(["Which claims hold?", *datasets])


def claim_parameters():
    """Return the parameters of the notebook that draws the ledger."""
    return {
        "title": claim_title(),
        "ledger": f"{RESULTS}/claims.csv",
        "figures": FIGURES,
    }


def claim_folders():
    """Return the folders with tables: this run's, or all machines' of a reference."""
    if CONFIG.tables_from is None:
        return [RESULTS]
    first = REPOSITORY / CONFIG.tables_from
    others = sorted(folder.parent for folder in first.parent.glob("*/benchmarks"))
    return [from_here(path) for path in dict.fromkeys([first, *others])]


def claim_tables():
    """Return the tables that the claims are tested on."""
    experiments = [name for name in claimed() if name in CONFIG.experiments]
    tables = [
        path
        for name in experiments
        for path in drawn_from(name)
        if Path(path).name.partition(".")[0] in ("runs", "expert_counts")
    ]
    measured = [
        f"{folder}/benchmarks/{name}.csv"
        for name in claimed()
        if name in CONFIG.benchmarks
        for folder in claim_folders()
    ]
    if CONFIG.tables_from is not None:
        measured = [path for path in measured if Path(path).exists()]
    return tables + measured
