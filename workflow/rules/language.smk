# Language models: one job per variant, or one for all (`one_job_per_experiment`); then their tables.


rule train_language_model:
    input:
        text=lambda wildcards: LAYOUT.trains_on(wildcards, workflow),
    output:
        expand(
            f"{RESULTS}/jobs/{{{{language_model}}}}/{{{{variant}}}}/{{table}}.csv",
            table=[*LANGUAGE],
        ),
        f"{RESULTS}/jobs/{{language_model}}/{{variant}}/{RECORD}",
    log:
        f"{RESULTS}/logs/train/{{language_model}}/{{variant}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{language_model}}/{{variant}}.tsv"
    priority: 1
    conda:
        ENVIRONMENT
    threads: CONFIG.threads
    resources:
        **needs("train"),
    params:
        config=KEPT,
        job=lambda wildcards: LAYOUT.language_job_name(wildcards),
        specs=lambda wildcards: [
            spec.model_dump_json(exclude=LABELS)
            for spec in LAYOUT.language_specs_of(wildcards)
        ],
        settings=settings(CONFIG, TRAIN_SETTINGS),
        folder=subpath(output[0], parent=True),
        store=f"{RESULTS}/store",
        sources=stage_digest("language"),
    shell:
        "fastff train --config {params.config:q}"
        " --job {params.job:q}"
        " --data {input.text[0]:q} --output {params.folder:q} --store {params.store:q} 2> {log:q}"


rule collect_language_model:
    input:
        lambda wildcards: expand(
            "{job}/{table}.csv",
            job=LAYOUT.language_job_folders(wildcards.language_model),
            table=[*LANGUAGE],
        ),
    output:
        expand(
            f"{RESULTS}/tidy/{{{{language_model}}}}/{{table}}.csv", table=[*LANGUAGE]
        ),
    log:
        f"{RESULTS}/logs/collect/{{language_model}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect/{{language_model}}.tsv"
    priority: 2
    group:
        submitted_as("draw")
    conda:
        ENVIRONMENT
    resources:
        **needs("collect"),
    params:
        jobs=lambda wildcards: LAYOUT.language_job_folders(wildcards.language_model),
        folder=subpath(output[0], parent=True),
        sources=stage_digest("collect"),
    shell:
        "fastff collect {params.jobs:q} --output {params.folder:q} 2> {log:q}"
