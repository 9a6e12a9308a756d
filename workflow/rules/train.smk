# Training: one job per variant of an experiment, then one set of tidy tables per experiment.

SPECS = {
    (spec.experiment, spec.variant.name): spec
    for experiment in CONFIG.experiments
    for spec in CONFIG.train_specs(experiment)
}
HAS_GPU = CONFIG.device == "cuda" or (CONFIG.device == "auto" and bool(shutil.which("nvidia-smi")))


def spec_of(wildcards):
    """Return the job as JSON: all of the config that it reads, so that nothing else reruns it."""
    return SPECS[wildcards.experiment, wildcards.variant].model_dump_json()


def data_of(wildcards):
    """Return the prepared files of an experiment's dataset."""
    stem = f"{CONFIG.data_dir}/{CONFIG.experiments[wildcards.experiment].dataset}"
    return [f"{stem}.npz", f"{stem}.json"]


def jobs_of(wildcards):
    """Return the folders of an experiment's jobs, in the order of its variants."""
    variants = CONFIG.experiments[wildcards.experiment].variants
    return [f"{RESULTS}/jobs/{wildcards.experiment}/{variant.name}" for variant in variants]


rule train:
    input:
        data=data_of,
        sources=sources("train"),
    output:
        expand(f"{RESULTS}/jobs/{{{{experiment}}}}/{{{{variant}}}}/{{table}}.csv", table=TABLES),
    log:
        f"{RESULTS}/logs/train/{{experiment}}/{{variant}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/train/{{experiment}}/{{variant}}.tsv"
    threads: CONFIG.threads
    resources:
        gpu=int(HAS_GPU),
    params:
        spec=spec_of,
        folder=subpath(output[0], parent=True),
        store=f"{RESULTS}/store",
        device=CONFIG.device,
        threads=CONFIG.threads,
        runs_per_stack=CONFIG.runs_per_stack,
    conda:
        ENVIRONMENT
    shell:
        "fastff train --spec {params.spec:q} --data {input.data[0]:q} --output {params.folder:q}"
        " --store {params.store:q} --device {params.device} --threads {params.threads}"
        " --runs-per-stack {params.runs_per_stack} 2> {log:q}"


rule collect:
    input:
        lambda wildcards: expand(f"{{job}}/{{table}}.csv", job=jobs_of(wildcards), table=TABLES),
    output:
        expand(f"{RESULTS}/tidy/{{{{experiment}}}}/{{table}}.csv", table=TABLES),
    log:
        f"{RESULTS}/logs/collect/{{experiment}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/collect/{{experiment}}.tsv"
    params:
        jobs=jobs_of,
        folder=subpath(output[0], parent=True),
    conda:
        ENVIRONMENT
    shell:
        "fastff collect {params.jobs:q} --output {params.folder:q} 2> {log:q}"
