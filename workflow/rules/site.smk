# The site: pages that show all of this run, in a browser, without a server or a network.

SITE_PLAN = f"{RESULTS}/site.json"
SITE = LAYOUT.site_plan(workflow.configfiles, workflow.config_settings.config)


rule rule_graph:
    input:
        workflow=[
            from_here(REPOSITORY / "workflow" / "Snakefile"),
            *map(from_here, sorted((REPOSITORY / "workflow").glob("rules/*.smk"))),
        ],
    output:
        f"{RESULTS}/rule_graph.dot",
    log:
        f"{RESULTS}/logs/rule_graph.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=KEPT,
        read=KEPT_DIGEST,
    shell:
        "snakemake all --rulegraph dot --cores 1 --profile none --workflow-profile none"
        " --snakefile {input.workflow[0]:q} --configfile {params.config:q}"
        " > {output:q} 2> {log:q}"


rule site:
    input:
        [LAYOUT.products(name) for name in CONFIG.drawn()],
        LAYOUT.claim_products(),
        LAYOUT.prepared_here(),
        rules.rule_graph.output,
        captions=[from_here(path) for path in sorted(CAPTIONS.glob("*.rst"))],
        documents=[from_here(path) for path in LAYOUT.documents()],
    output:
        directory(f"{RESULTS}/site"),
    log:
        f"{RESULTS}/logs/site.log",
    localrule: True
    conda:
        ENVIRONMENT
    params:
        config=KEPT,
        read=KEPT_DIGEST,
        plan=SITE_PLAN,
        planned=json.dumps(SITE),
        sources=stage_digest("site"),
    shell:
        "fastff site --config {params.config:q} --plan {params.plan:q}"
        " --output {output:q} 2> {log:q}"
