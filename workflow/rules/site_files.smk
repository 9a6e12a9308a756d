# What the site is made of.

SITE_PLAN = f"{RESULTS}/site.json"


def drawn_block(name, caption, figures, tables, data):
    """Return what has been drawn of a block, as `fastff site` takes it."""
    return {
        "caption": from_here(caption),
        "figures": figures,
        "tables": tables,
        "data": data,
        "notebook": f"{RESULTS}/notebooks/{name}.ipynb",
    }


def site_plan():
    """Return the files of this run that the site shows, as `fastff site` takes them."""
    blocks = {
        name: drawn_block(
            name,
            LAYOUT.caption_of(name, "figures"),
            figures=LAYOUT.paths_of(name, "figures", [""]),
            tables=LAYOUT.paths_of(name, "tables", [""]),
            data=LAYOUT.drawn_from(name),
        )
        for name in CONFIG.drawn()
    }
    ledger = drawn_block(
        "claims",
        CAPTIONS / "claims.rst",
        figures=[f"{FIGURES}/claims"],
        tables=[f"{RESULTS}/claims"],
        data=[f"{RESULTS}/claims.csv"],
    )
    earlier = dict.fromkeys([CONFIG.tables_from, *CONFIG.benchmarks_from])
    return {
        "blocks": blocks,
        "ledger": ledger if CLAIMS is not None else None,
        "table_caption": from_here(CAPTIONS / "tables.rst"),
        "rule_graph": f"{RESULTS}/rule_graph.dot",
        "configfiles": [from_here(path) for path in workflow.configfiles],
        "changes": [
            f"{key}={as_given(value)}"
            for key, value in workflow.config_settings.config.items()
        ],
        "jobs": f"{RESULTS}/benchmarks",
        "datasets": [path for path in LAYOUT.prepared_here() if path.endswith(".json")],
        "earlier": [from_here(REPOSITORY / folder) for folder in earlier if folder],
        "readme": from_here(REPOSITORY / "README.md"),
        "docs": [from_here(path) for path in documents()],
    }


def documents():
    """Return the repository's pages beside README.md."""
    return sorted((REPOSITORY / "docs").glob("*.md"))


def as_given(value):
    """Return a value of the config as the command line takes it."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)
