"""Made-up experiments: a small one, ones of the study's shapes, and miniatures."""

from pathlib import Path

import pytest
from synthetic import LABELS, synthetic_experiment, synthetic_tables, write_tidy

from fastff.analysis import Tidy, load_tidy
from fastff.config.load import load_config

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def default_folders(tmp_path_factory) -> dict[str, Path]:
    """Tidy tables of each experiment: the study's at its sizes, others as miniatures."""
    folder = tmp_path_factory.mktemp("tidy")
    default = load_config(REPOSITORY / "config" / "config.yaml")
    study = load_config(Path(__file__).parent / "laptop.yaml")
    configs = dict.fromkeys(default.experiments, default) | dict.fromkeys(study.experiments, study)
    return {
        name: write_tidy(
            synthetic_experiment(config.train_specs(name), config.experiments[name]), folder / name
        )
        for name, config in configs.items()
    }


@pytest.fixture
def tables():
    """The three tables of a small experiment, to be spoilt."""
    return synthetic_tables(("fff_mixture_logsigmoid", "moe_mixture"))


@pytest.fixture
def small(tables) -> Tidy:
    return Tidy(**tables)


@pytest.fixture
def load(tmp_path):
    """Write tables as the pipeline does, and read them."""
    return lambda tables: load_tidy(write_tidy(tables, tmp_path / "tidy"), LABELS)
