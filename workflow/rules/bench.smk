# Benchmarks: one table of measurements each. A benchmark has all cores to itself.


rule bench:
    input:
        data=lambda wildcards: LAYOUT.data_of(wildcards.benchmark),
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
        config=KEPT,
        spec=lambda wildcards: CONFIG.benchmark_spec(
            wildcards.benchmark
        ).model_dump_json(),
        settings=settings(CONFIG, BENCH_SETTINGS),
        data=lambda wildcards, input: ["--data", input.data[0]] if input.data else [],
        sources=stage_digest("bench"),
    shell:
        "fastff bench --config {params.config:q} --job {wildcards.benchmark} {params.data:q}"
        " --output {output:q} 2> {log:q}"
