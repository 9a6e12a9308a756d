# Training: one job per variant of an experiment, or one per part of its runs (`runs_per_job`), or one
# for all (`one_job_per_experiment`); then one set of tidy tables per experiment.


rule train:
    input:
        data=lambda wildcards: LAYOUT.trains_on(wildcards, workflow),
    output:
        expand(
            f"{RESULTS}/jobs/{{{{experiment}}}}/{{{{variant}}}}{{{{shard}}}}/{{table}}.csv",
            table=[*TIDY],
        ),
        f"{RESULTS}/jobs/{{experiment}}/{{variant}}{{shard}}/{RECORD}",
    log:
        f"{RESULTS}/logs/train/{{experiment}}/{{variant}}{{shard}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{experiment}}/{{variant}}{{shard}}.tsv"
    priority: 1  # before what is timed, so that the first figures are there soon
    conda:
        ENVIRONMENT
    threads: CONFIG.threads
    resources:
        **needs("train"),
    params:
        config=KEPT,
        job=lambda wildcards: LAYOUT.job_name(wildcards),
        specs=lambda wildcards: [
            spec.model_dump_json(exclude=LABELS) for spec in LAYOUT.specs_of(wildcards)
        ],
        # not the rule's threads: Snakemake lowers those to the cores there are
        settings=settings(CONFIG, TRAIN_SETTINGS),
        folder=subpath(output[0], parent=True),
        store=f"{RESULTS}/store",
        sources=stage_digest("train"),
    shell:
        "fastff train --config {params.config:q}"
        " --job {params.job:q}"
        " --data {input.data[0]:q} --output {params.folder:q} --store {params.store:q} 2> {log:q}"


rule collect:
    input:
        lambda wildcards: expand(
            "{job}/{table}.csv",
            job=LAYOUT.job_folders(wildcards.experiment),
            table=[*TIDY],
        ),
    output:
        expand(f"{RESULTS}/tidy/{{{{experiment}}}}/{{table}}.csv", table=[*TIDY]),
    log:
        f"{RESULTS}/logs/collect/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect/{{experiment}}.tsv"
    priority: 2
    group:
        submitted_as("draw")
    conda:
        ENVIRONMENT
    resources:
        **needs("collect"),
    params:
        jobs=lambda wildcards: LAYOUT.job_folders(wildcards.experiment),
        folder=subpath(output[0], parent=True),
        sources=stage_digest("collect"),
    shell:
        "fastff collect {params.jobs:q} --output {params.folder:q} 2> {log:q}"
