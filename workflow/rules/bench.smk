# Benchmarks: one table of measurements each. A benchmark has all cores to itself.


rule bench:
    input:
        data=data_of_benchmark,
    output:
        f"{RESULTS}/benchmarks/{{benchmark}}.csv",
    log:
        f"{RESULTS}/logs/bench/{{benchmark}}.log",
    benchmark:
        f"{RESULTS}/benchmarks/bench/{{benchmark}}.tsv"
    conda:
        ENVIRONMENT
    threads: workflow.cores
    resources:
        **needs("bench"),
    params:
        spec=lambda wildcards: CONFIG.benchmarks[wildcards.benchmark]
        .spec()
        .model_dump_json(),
        data=lambda wildcards, input: ["--data", input.data[0]] if input.data else [],
        device=CONFIG.device,
        stacks_at_once=CONFIG.stacks_at_once,
        tf32="--tf32" if CONFIG.tf32 else "",
        sources=stage_digest("bench"),
    shell:
        "fastff bench --spec {params.spec:q} {params.data:q} --output {output:q}"
        " --device {params.device} --stacks-at-once {params.stacks_at_once} {params.tf32}"
        " 2> {log:q}"
