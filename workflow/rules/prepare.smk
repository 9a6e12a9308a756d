# Datasets: the original archives -> one checked array file each.


def dataset_options(wildcards):
    """Return the command-line options that config gives for a dataset."""
    options = CONFIG.datasets.get(wildcards.dataset)
    given = options.model_dump(exclude_none=True) if options else {}
    return [word for key, value in given.items() for word in (f"--{key}", value)]


rule prepare:
    input:
        sources("prepare"),
    output:
        multiext(f"{CONFIG.data_dir}/{{dataset}}", ".npz", ".json"),
    log:
        f"{CONFIG.data_dir}/logs/{{dataset}}.log",
    benchmark:
        f"{CONFIG.data_dir}/benchmarks/{{dataset}}.tsv"
    params:
        folder=CONFIG.data_dir,
        options=dataset_options,
    conda:
        ENVIRONMENT
    shell:
        "fastff prepare {wildcards.dataset} --data-dir {params.folder:q} {params.options:q} 2> {log:q}"
