"""Config files as people get them wrong, each with the start of the one line that says so."""

GOOD = """\
name: trial
defaults: {dataset: mnist5k, seeds: [0, 1]}
experiments:
  first:
    title: First
    recipe: {epochs: 2, batch_size: 128, learning_rate: 0.01}
    grid: {depth: [1, 2], hidden_features: [4]}
    variants: [moe_mixture, fff_mixture_log]
"""
FIRST = "experiments.first"

# What replaces which text of GOOD, and the message. {path} stands for the config file.
BAD: dict[str, tuple[str, str, str]] = {
    # types
    "name is a number": ("name: trial", "name: 3", "name = 3: Input should be a valid string"),
    "name is nothing": ("name: trial", "name:", "name = None: Input should be a valid string"),
    "seeds is a number": ("seeds: [0, 1]", "seeds: 5", "defaults.seeds = 5: Input should be a list"),
    "a seed is text": ("[0, 1]", "[0, one]", "defaults.seeds[1] = 'one': Input should be a valid int"),
    "a seed is a float": ("[0, 1]", "[0.5]", "defaults.seeds[0] = 0.5: Input should be a valid int"),
    "epochs is a boolean": ("epochs: 2", "epochs: yes", f"{FIRST}.recipe.epochs = True: Input should"),
    "a rate without a point": (
        "0.01", "8e-4",
        f"{FIRST}.recipe.learning_rate = '8e-4': Input should be a valid number; YAML reads 8e-4 as "
        "text, write 8.0e-4",
    ),
    "grid is a list": ("{depth: [1, 2], hidden_features: [4]}", "[1, 2]",
                       f"{FIRST}.grid: Input should be a mapping of keys to values"),
    "grid is nothing": ("grid: {depth: [1, 2], hidden_features: [4]}", "grid:",
                        f"{FIRST}.grid = None: Input should be a mapping"),
    "variants is text": ("[moe_mixture, fff_mixture_log]", "moe_mixture",
                         f"{FIRST}.variants = 'moe_mixture': Input should be a list"),
    "a variant is nothing": ("fff_mixture_log]", "null]", f"{FIRST}.variants[1] = None: Input should"),
    "experiments is a list": ("experiments:", "experiments: []\nothers:", "config: unknown key 'others'"),
    "tf32 is text": ("name: trial", "name: trial\ntf32: 'no'", "tf32 = 'no': Input should be a valid bo"),
    # ranges
    "no threads": ("name: trial", "name: trial\nthreads: 0", "threads = 0: Input should be greater"),
    "depth 0": ("[1, 2]", "[0]", f"{FIRST}.grid.depth[0] = 0: Input should be greater than or equal to 1"),
    "negative seed": ("[0, 1]", "[-1]", "defaults.seeds[0] = -1: Input should be greater than or"),
    "rate 0": ("0.01", "0", f"{FIRST}.recipe.learning_rate = 0: Input should be greater than 0"),
    "negative rate": ("0.01", "-0.1", f"{FIRST}.recipe.learning_rate = -0.1: Input should be greater"),
    "leak above 1": ("hidden_features: [4]", "hidden_features: [4], region_leak: [1.5]",
                     f"{FIRST}.grid.region_leak[0] = 1.5: Input should be less than or equal to 1"),
    "checkpoints back in time": ("name: trial", "name: trial\ncheckpoint_seconds: -1",
                                 "checkpoint_seconds = -1: Input should be greater than or equal to 0"),
    # numbers that are none
    "rate NaN": ("0.01", ".nan", f"{FIRST}.recipe.learning_rate = nan: Input should be a finite number"),
    "rate infinite": ("0.01", ".inf", f"{FIRST}.recipe.learning_rate = inf: Input should be a finite"),
    "leak NaN": ("hidden_features: [4]", "hidden_features: [4], region_leak: [.nan]",
                 f"{FIRST}.grid.region_leak[0] = nan: Input should be a finite number"),
    "checkpoints never": ("name: trial", "name: trial\ncheckpoint_seconds: .inf",
                          "checkpoint_seconds = inf: Input should be a finite number"),
    # huge sizes
    "depth 40": ("[1, 2]", "[40]", f"{FIRST}.grid.depth[0] = 40: Input should be less than or equal to 20"),
    "width 10^9": ("hidden_features: [4]", "hidden_features: [1000000000]",
                   f"{FIRST}.grid.hidden_features[0] = 1000000000: Input should be less than or equal"),
    "too many units": ("[1, 2], hidden_features: [4]", "[20], hidden_features: [1000]",
                       "config: variant 'moe_mixture': grid.depth 20 with grid.hidden_features 1000 makes "
                       "1,048,576,000 hidden units; at most 4,194,304 are allowed"),
    "too many trees": (
        "fff_mixture_log]", "{name: forest, label: Forest, model: {kind: node_tree, n_trees: 100000, depth: 20}}]",
        "config: variant 'forest': layers of 784 x 209,715,200,000 x 10 values with batches of 128 take some ",
    ),
    "too many channels": (
        "fff_mixture_log]",
        "{name: images, label: Images, model: {kind: convolutional, channels: [1000000, 1000000]}}]",
        "config: variant 'images': layers of 784 x 1,000,000 x 1,000,000 x 10 values with batches of 128 take some ",
    ),
    "too many features": (
        "fff_mixture_log]",
        "{name: wide, label: Wide, model: {kind: bottleneck, features: 1000000, body: {kind: feed_forward, "
        "hidden_features: 1000000}}}]",
        "config: variant 'wide': layers of 784 x 1,000,000 x 1,000,000 x 10 values with batches of 128 take some ",
    ),
    "a large timed shape": (
        "name: trial",
        "name: trial\nbenchmarks: {timed: {title: Timed, kind: timing, cases: {one: {device: cpu, op: experts, "
        "variants: [experts_dense], in_features: 1000000, out_features: 10, batch: [1], depth: [20]}}}}",
        "benchmarks.timed.timing.cases.one: layers of 1,000,000 x 1,048,576 x 10 values with batches of 1 take some ",
    ),
    "a batch of more than all in a benchmark": (
        "name: trial",
        "name: trial\nbenchmarks: {b: {title: B, kind: engine, dataset: mnist5k, variants: [moe_mixture], grid: "
        "{depth: [1], hidden_features: [4]}, recipe: {epochs: 1, batch_size: 5000, learning_rate: 0.1}}}",
        "benchmarks.b.engine: recipe: batch_size = 5000: at most the 4000 training samples of ",
    ),
    "more experts chosen than there are in a benchmark": (
        "name: trial",
        "name: trial\nbenchmarks: {b: {title: B, kind: engine, dataset: mnist5k, variants: [{name: t, "
        "label: T, model: {kind: routed, gate: {kind: linear, top_k: 4}, experts: {kind: mixture}}}], grid: "
        "{depth: [1], hidden_features: [4]}, recipe: {epochs: 1, batch_size: 100, learning_rate: 0.1}}}",
        "benchmarks.b.engine: variant 't' at depth 1: top_k = 4, but there are only 2 experts",
    ),
    "10^12 epochs": ("epochs: 2", "epochs: 1000000000000",
                     f"{FIRST}.recipe.epochs = 1000000000000: Input should be less than or equal to 100000"),
    "a batch of more than all": ("batch_size: 128", "batch_size: 5000",
                                 f"{FIRST}.recipe: batch_size = 5000: at most the 4000 training samples of "),
    "nothing left to train on": ("epochs: 2", "epochs: 2, validation_samples: 4000",
                                 f"{FIRST}.recipe: train_samples = None and validation_samples = 4000: at "),
    "no step to warm up": ("epochs: 2, batch_size: 128", "epochs: 1, batch_size: 2000",
                           f"{FIRST}.recipe: 2 steps with warm_up = 0.25 leave no step to warm up; more "),
    "a number of 5000 digits": ("[0, 1]", f"[1{'0' * 5000}]",
                                "config file {path}, line 2: a number of 5001 digits, 1000"),
    "a number of base 8": ("[0, 1]", "[010]", "config file {path}, line 2: 010 is a number of base 8 or 60"),
    "a number of base 60": ("[0, 1]", "[1:30]", "config file {path}, line 2: 1:30 is a number of base 8 or 60"),
    "a rate of base 60": ("0.01", "1:30.5", "config file {path}, line 6: 1:30.5 is a number of base 8 or 60"),
    "a long text": ("title: First", f"title: {'x' * 5000}", f"{FIRST}.title = '{'x' * 79}...: String should"),
    "runs per stack": ("name: trial", "name: trial\nruns_per_stack: 100000",
                       "runs_per_stack = 100000: Input should be less than or equal to 10000"),
    "no runs per job": ("name: trial", "name: trial\nruns_per_job: 0",
                        "runs_per_job = 0: Input should be greater than or equal to 1"),
    "half a run per job": ("title: First", "title: First\n    runs_per_job: 0.5",
                           f"{FIRST}.runs_per_job = 0.5: Input should be a valid integer"),
    # unknown names
    "unknown key": ("name: trial", "name: trial\nthread: 2", "config: unknown key 'thread', did you mean "
                    "'threads'? allowed: name, "),
    "unknown key of a grid": ("depth:", "dpeth:", f"{FIRST}.grid: unknown key 'dpeth', did you mean 'depth'?"),
    "unknown variant": ("moe_mixture,", "moe_mixtrue,", f"{FIRST}.variants[0] = 'moe_mixtrue': unknown variant"),
    "unknown dataset": ("mnist5k", "imagenet", "defaults.dataset = 'imagenet': Input should be 'mnist5k', "),
    "unknown device": ("name: trial", "name: trial\ndevice: tpu", "device = 'tpu': Input should be 'auto', "),
    "unknown choice": ("name: trial", "name: trial\nfailed_runs: ignore",
                       "failed_runs = 'ignore': Input should be 'keep' or 'error'"),
    "unknown variant compared": ("title: First", "title: First\n    comparisons: [{treatment: a, baseline: b}]",
                                 f"{FIRST}: comparisons: unknown variant 'a'; allowed: moe_mixture, "),
    "compared with itself": (
        "title: First",
        "title: First\n    comparisons: [{treatment: moe_mixture, baseline: moe_mixture}]",
        f"{FIRST}.comparisons[0]: treatment and baseline are both 'moe_mixture'; two are needed",
    ),
    # texts that are drawn, and shown by browsers
    "a title that turns letters round": ("title: First", 'title: "First\\u202e"',
                                         f"{FIRST}.title = 'First\\u202e': it has characters that nobody sees"),
    "a blank title": ("title: First", "title: ' '", f"{FIRST}.title = ' ': it has characters that nobody sees"),
    "a figure of 300 letters": ("title: First", f"title: First\n    figures: [{'x' * 300}]",
                                f"config: figures: '{'x' * 80}' is no name of a file; allowed are a-z, 0-9 and _"),
    "an image like an option": ("name: trial", "name: trial\ncontainer: --bind=/",
                                "container = '--bind=/': Snakemake takes no spaces, no brackets and no dash"),
    "a title of two lines": ("title: First", 'title: "One\\nTwo"',
                             f"{FIRST}.title = 'One\\nTwo': should be one line, without < and >"),
    "a title of HTML": ("title: First", "title: <b>First</b>",
                        f"{FIRST}.title = '<b>First</b>': should be one line, without < and >"),
    "a formula that isn't one": ("title: First", "title: $\\frac$",
                                 f"{FIRST}.title = '$\\\\frac$': matplotlib can't draw the formula: "),
    "a label of HTML": ("fff_mixture_log]", "{name: two, label: <script>, model: {kind: feed_forward}}]",
                        f"{FIRST}.variants[1].label = '<script>': should be one line, without < and >"),
    "a label twice": ("fff_mixture_log]", "{name: two, label: MoE, model: {kind: feed_forward}}]",
                      f"{FIRST}: given more than once: label 'MoE'"),
    "missing key": ("    title: First\n", "", f"{FIRST}.title: Field required"),
    # duplicate names
    "seed twice": ("[0, 1]", "[1, 1]", "defaults.seeds: given more than once: 1"),
    "depth twice": ("[1, 2]", "[2, 2]", f"{FIRST}.grid.depth: given more than once: 2"),
    "variant twice": ("fff_mixture_log]", "moe_mixture]", f"{FIRST}: given more than once: moe_mixture"),
    "figure twice": ("title: First", "title: First\n    figures: [a, a]",
                     f"{FIRST}.figures: given more than once: a"),
    "key twice": ("name: trial", "name: trial\nname: other",
                  "config file {path}: key 'name' is given twice, in lines 1 and 2"),
    "experiment twice": (
        "  first:", "  first: {title: Lost}\n  first:",
        "config file {path}: key 'first' is given twice, in lines 4 and 5",
    ),
    "key of a recipe twice": ("epochs: 2,", "epochs: 2, epochs: 3,",
                              "config file {path}: key 'epochs' is given twice, in lines 6 and 6"),
    # empty lists
    "no seeds": ("[0, 1]", "[]", "defaults.seeds: There should be at least 1 item, not 0"),
    "no depth": ("[1, 2]", "[]", f"{FIRST}.grid.depth: There should be at least 1 item, not 0"),
    "no variants": ("[moe_mixture, fff_mixture_log]", "[]", f"{FIRST}.variants: There should be at least 1"),
    "no title": ("title: First", "title: ''", f"{FIRST}.title = '': String should have at least 1 char"),
    "no folder": ("name: trial", "name: trial\nresults_dir: ''", "results_dir = '': should be the path of a "),
    # YAML that is none
    "tab": ("  first:", "\tfirst:", "config file {path} is not YAML: while scanning for the next token found"),
    "open bracket": ("[0, 1]", "[0, 1", "config file {path} is not YAML: while parsing a flow sequence"),
    "open quote": ("title: First", "title: 'First", "config file {path} is not YAML: while scanning a quoted"),
    "wrong indent": ("    grid:", "  grid:", "config file {path} is not YAML: "),
    "unknown anchor": ("[0, 1]", "*seeds", "config file {path} is not YAML: found undefined alias"),
    "a Python object": ("[0, 1]", "!!python/object/apply:os.mkdir [made]",
                        "config file {path}, line 2: could not determine a constructor for the tag"),
    "a list as key": ("name: trial", "name: trial\n[a]: 3", "config file {path}"),
    "a key that is true": ("  first:", "  on:", "config file {path}, line 4: key on is no text but True for YAML"),
    "a key that is a date": ("  first:", "  2026-11-25:",
                             "config file {path}, line 4: key 2026-11-25 is no text but datetime"),
    "a key that is null": ("  first:", "  null:", "config file {path}, line 4: key null is no text but None for YAML"),
    "a name that is null": ("name: trial", "name: null", "name = None: Input should be a valid string"),
    "a name like a number": ("name: trial", "name: 1e5", "name = '1e5': should match"),
    "a variant that is true": ("fff_mixture_log]", "on]", f"{FIRST}.variants[1] = True: Input should be a mapping"),
    "aliases of aliases": (
        "name: trial",
        "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9)),
        "config file {path}: its aliases stand for too much to write out",
    ),
    "an alias in itself": ("name: trial", "name: &a [*a]",
                           "config file {path} is not YAML: an alias is in what it stands for"),
    "a file of everything": ("title: First", f"title: {'x' * 10_000_000}",
                             "config file {path}: at most 10 MB are allowed"),
    "no mapping": (GOOD, "- a\n- b\n", "config file {path}: expected keys with values, found ['a', 'b']"),
    "empty file": (GOOD, "", "config file {path}: expected keys with values, found None"),
    # paths in names
    "name leaves the folder": ("name: trial", "name: ../up", "name = '../up': should match ^[a-z][a-z0-9_]*$"),
    "name is absolute": ("name: trial", "name: /etc", "name = '/etc': should match"),
    "experiment leaves the folder": ("  first:", "  ../first:", "experiments: key '../first': should match"),
    "notebook elsewhere": ("title: First", "title: First\n    notebook: ../../x",
                           f"{FIRST}.notebook = '../../x': should match"),
    "figure elsewhere": ("title: First", "title: First\n    figures: [../x]",
                         "config: figures: '../x' is no name of a file; allowed are a-z, 0-9 and _"),
    "name with a line break": ("name: trial", 'name: "x\\n"', "name = 'x\\n': should match"),
    "a rule's name": ("  first:", "  bench:", "experiments.bench: this name is reserved"),
    "a drawing rule's name": ("  first:", "  draw_x:", "experiments.draw_x: this name is reserved"),
    "reserved name": ("  first:", "  all:", "experiments.all: this name is reserved"),
    "braces": ("name: trial", "name: trial\nresults_dir: 'x{y}'", "results_dir = 'x{y}': should be the path"),
    "a folder like an option": ("name: trial", "name: trial\nresults_dir: -x",
                                "results_dir = '-x': commands take what starts with a dash for an option"),
    "a folder of 300 letters": ("name: trial", f"name: trial\nresults_dir: a/{'x' * 300}",
                                f"results_dir = 'a/{'x' * 77}...: a name in a path has at most 255 bytes"),
    "results on a server": ("name: trial", "name: trial\nresults_dir: s3://bucket/x",
                            "results_dir = 's3://bucket/x': an address is no folder; allowed is the path"),
    "results at home": ("name: trial", "name: trial\nresults_dir: ~/x",
                        "results_dir = '~/x': ~ is not expanded; allowed is the whole path"),
    "a space at the end": ("name: trial", "name: trial\ndata_dir: 'my data '",
                           "data_dir = 'my data ': Snakemake takes no path that starts or ends with a"),
    "folder with a line break": ("name: trial", 'name: trial\nfigures_dir: "a\\nb"',
                                 "figures_dir = 'a\\nb': should be the path of a folder, without {"),
    "angle brackets": ("name: trial", "name: trial\ndata_dir: 'x<y>'", "data_dir = 'x<y>': should be the path"),
    "an image with a space": ("name: trial", "name: trial\ncontainer: my images/x.sif",
                              "container = 'my images/x.sif': Snakemake takes no spaces, no brackets"),
    "mirror without TLS": (
        "name: trial", "name: trial\ndatasets: {mnist: {mirror: 'http://example.org'}}",
        "datasets.mnist.mirror = 'http://example.org': allowed are https URLs, and http URLs of a loop",
    ),
}  # fmt: skip

# Files that extend one with GOOD, base.yaml, beside which are round.yaml, which extends this one, and
# the message. {folder} stands for their folder.
MINE = "config file {folder}/mine.yaml"
HEAD = "extends: [base.yaml]\nname: mine\n"
BAD_OVERLAYS: dict[str, tuple[str, str]] = {
    "unknown key": (HEAD + "thread: 2\n", MINE + ", line 3: unknown key 'thread', did you mean 'threads'? allowed: "),
    "unknown key of an experiment": (
        HEAD + "experiments:\n  first: {sedes: [1]}\n",
        MINE + f", line 4: {FIRST}: unknown key 'sedes', did you mean 'seeds'? allowed: title, ",
    ),
    "unknown experiment": (
        HEAD + "experiments:\n  frist: {seeds: [1]}\n",
        MINE + ", line 4: experiments.frist: unknown experiment 'frist', did you mean 'first'? allowed: first; a "
        "new one needs a title",
    ),
    "a bad value": (
        HEAD + "experiments:\n  first:\n    grid: {depth: [1, 40]}\n",
        MINE + f", line 5: {FIRST}.grid.depth[1] = 40: Input should be less than or equal to 20",
    ),
    "a bad value for all": (
        "extends: [base.yaml]\ndefaults:\n  seeds:\n    - 1\n    - -1\n",
        MINE + ", line 5: defaults.seeds[1] = -1: Input should be greater than or equal to 0",
    ),
    "extends by another name": (
        "extend: [base.yaml]\nname: mine\nexperiments: {}\n",
        MINE + ", line 1: unknown key 'extend', did you mean 'extends'? allowed: name, extends, ",
    ),
    # removals
    "nothing to remove": (
        HEAD + "tables_from: null\n",
        MINE + ", line 3: tables_from = None: nothing to remove; unknown key 'tables_from'; allowed: name, defaults, ",
    ),
    "no such experiment to remove": (
        HEAD + "experiments:\n  frist: null\n",
        MINE + ", line 4: experiments.frist = None: nothing to remove; unknown key 'frist', did you mean 'first'? "
        "allowed: first",
    ),
    "no such key to remove": (
        HEAD + "experiments:\n  first:\n    grids: null\n",
        MINE + f", line 5: {FIRST}.grids = None: nothing to remove; unknown key 'grids', did you mean 'grid'? allowed: ",
    ),
    "all experiments removed": (HEAD + "experiments: {first: null}\n",
                                MINE + ", line 3: experiments: There should be at least 1 item"),
    "a key removed that is needed": (
        HEAD + "experiments:\n  first:\n    grid: null\n", MINE + f", line 5: {FIRST}.grid: Field required",
    ),
    # files
    "no such file": (
        "extends: [bsae.yaml]\n",
        MINE + ", line 1: extends[0] = 'bsae.yaml': unknown file in {folder}, did you mean 'base.yaml'? "
        "allowed: base.yaml, round.yaml",
    ),
    "a folder": ("extends: [base.yaml, ..]\n", MINE + ", line 1: extends[1] = '..': unknown file in "),
    "no list of files": ("name: mine\nextends: base.yaml\n",
                         MINE + ", line 2: extends = 'base.yaml': should be a list of files, by their paths from here"),
    "no names of files": ("extends: [3]\n", MINE + ", line 1: extends = [3]: should be a list of files"),
    "extends nothing": ("extends:\n", MINE + ", line 1: extends = None: should be a list of files"),
    "itself": ("extends: [mine.yaml]\n",
               MINE + ", line 1: extends[0] = 'mine.yaml': a file can't extend itself; here mine.yaml extends mine.yaml"),
    "round in a circle": (
        "extends: [base.yaml, round.yaml]\n",
        "config file {folder}/round.yaml, line 1: extends[0] = 'mine.yaml': a file can't extend itself; here mine.yaml "
        "extends round.yaml extends mine.yaml",
    ),
    # experiments that extend others
    "no such experiment": (
        HEAD + "experiments:\n  second: {extends: frist}\n",
        MINE + ", line 4: experiments.second.extends = 'frist': unknown experiment 'frist', did you mean 'first'? "
        "allowed: first, which extend none themselves",
    ),
    "an experiment extends itself": (
        HEAD + "experiments:\n  second: {extends: second}\n",
        MINE + ", line 4: experiments.second.extends = 'second': unknown experiment 'second'; allowed: first, which ",
    ),
    "nothing to remove of another experiment": (
        HEAD + "experiments:\n  second: {extends: first, record: null}\n",
        MINE + ", line 4: experiments.second.record = None: nothing to remove; unknown key 'record'",
    ),
}  # fmt: skip


def bad_text(name: str) -> str:
    """Return the text of a bad config."""
    old, new, _ = BAD[name]
    assert old in GOOD
    return GOOD.replace(old, new, 1)
