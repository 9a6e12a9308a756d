# Datasets: the original archives -> one checked array file each.


rule prepare:
    output:
        # Not deleted before the job: another clone may read them. They are replaced whole.
        update(f"{CONFIG.data_dir}/{{dataset}}.npz"),
        update(f"{CONFIG.data_dir}/{{dataset}}.json"),
    log:
        f"{RESULTS}/logs/prepare/{{dataset}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/prepare/{{dataset}}.tsv"
    wildcard_constraints:
        dataset="|".join(
            name for name in (*DATASET_NAMES, *TEXT_NAMES) if not LAYOUT.is_given(name)
        ),
    priority: 2
    # where the internet is: seldom on the machines of a cluster that run jobs
    localrule: True
    conda:
        ENVIRONMENT
    params:
        folder=subpath(output[0], parent=True),
        options=lambda wildcards: LAYOUT.dataset_options(wildcards.dataset),
        sources=stage_digest("prepare"),
    shell:
        "fastff prepare {wildcards.dataset} --data-dir {params.folder:q}"
        " {params.options:q} 2> {log:q}"
