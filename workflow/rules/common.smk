# The checked config, and what the rule files share. What it all means is in src/fastff/workflow.

import hashlib
import json
import shlex
import shutil
from importlib.util import find_spec
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.settings.types import DeploymentMethod

REPOSITORY = Path(workflow.current_basedir).parents[1]
PACKAGE = find_spec("fastff")

if PACKAGE is None or not Path(PACKAGE.origin).samefile(
    REPOSITORY / "src/fastff/__init__.py"
):
    raise WorkflowError(
        f"The active environment has the code of {PACKAGE and Path(PACKAGE.origin).parents[2]},"
        f" not of {REPOSITORY}: activate this clone's, or use make, which makes one"
    )

from fastff.config.jobs import BENCH_SETTINGS, LABELS, RECORD, TRAIN_SETTINGS, settings
from fastff.data.names import DATASET_NAMES
from fastff.data.text_names import TEXT_NAMES
from fastff.tables.schema import LANGUAGE, TIDY
from fastff.workflow.caches import redirect_caches
from fastff.workflow.digests import stage_digest
from fastff.workflow.layout import FIGURE_FORMATS, TABLE_FORMATS, Layout, from_here
from fastff.workflow.start import (
    check_folders,
    hold_results,
    keep_what_jobs_read,
    left_over,
    read_config,
    use_container,
    write_training_jobs,
)

redirect_caches()  # of this process and of all jobs

ENVIRONMENT = str(REPOSITORY / "environment.yml")
# The command that executes a notebook, of rules with the same inputs, logs and params. nbconvert
# takes its argument for a pattern, so it gets the bare name, whatever the folder is called.
DRAW = (
    "papermill {input.notebook:q} {log.notebook:q} --parameters_file {params.file:q}"
    " --kernel python3 --start-timeout 300 --no-progress-bar > {log.text:q} 2>&1"
    " && (cd {params.folder:q} && jupyter nbconvert --to html $(basename {log.notebook:q})"
    " --output {params.part:q}) >> {log.text:q} 2>&1"
    " && mv {params.folder:q}/{params.part:q} {output.html:q}"
    ' && for file in {output:q}; do [ -e "$file" ] || {{ echo "$file: the config has it, but'
    " {input.notebook} doesn't draw it\" >> {log.text:q}; exit 1; }}; done"
)

if not workflow.config_settings.configfiles:

    configfile: str(REPOSITORY / "config" / "config.yaml")


CHECKED = read_config(
    [Path(path) for path in workflow.configfiles],
    workflow.config_settings.config,
    REPOSITORY,
)
config = CHECKED.values
CONFIG = CHECKED.config
CLAIMS = CHECKED.claims
check_folders(CONFIG, REPOSITORY)

if DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method:
    use_container(CONFIG, REPOSITORY)

LAYOUT = Layout(CONFIG, CLAIMS, REPOSITORY)
RESULTS = LAYOUT.results
FIGURES = LAYOUT.figures
CAPTIONS = LAYOUT.captions
# The config as a whole, with what was changed on the command line: commands name it and their job.
# It is no input of theirs. What a job reads of it is among its rule's params, also where no command
# uses them, so that a change reruns the jobs that read it and no others.
KEPT = f"{RESULTS}/config.yaml"
KEPT_DIGEST = hashlib.sha256(CHECKED.text.encode()).hexdigest()
HELD = []  # the lock of the results, as long as this process lives
HAS_GPU = CONFIG.device == "cuda" or (
    CONFIG.device == "auto" and bool(shutil.which("nvidia-smi"))
)


NOTHING = "(?!)"  # a pattern that no name fits


wildcard_constraints:
    experiment="|".join(CONFIG.experiments),
    language_model="|".join(CONFIG.language_models) or NOTHING,
    benchmark="|".join(CONFIG.benchmarks),
    variant="[a-z0-9_]+",
    shard=r"(/\d+-\d+)?",  # of a variant that is split, the first and the last run
    dataset="[a-z0-9_]+",


def reported(name, kind, ending):
    """Return the figures or tables of one format as entries of the report, with their caption."""
    caption = LAYOUT.caption_of(name, kind)
    entries = []
    for path in LAYOUT.paths_of(name, kind, [ending]):
        # One label: of two, the report makes a switch where it can, and fails on an unpaired one.
        labels = {"result": f"{kind.removesuffix('s')} {Path(path).stem}"}
        category = f"{name}: {CONFIG.drawn()[name].title}"
        entry = report(path, caption=str(caption), category=category, labels=labels)
        entries.append(entry)
    return entries
