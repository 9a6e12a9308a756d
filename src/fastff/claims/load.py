"""Reading a claims file, and refusing claims that name what isn't there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from fastff.claims.spec import Claim, ClaimsFile, OfRuns
from fastff.config.base import unknown
from fastff.config.errors import ConfigError, describe_faults
from fastff.config.experiment import Experiment
from fastff.config.load import Config, load_config
from fastff.config.yaml_file import read_yaml
from fastff.tables.schema import (
    MEASURES,
    OTHER_SCORES,
    SCORES,
    SHAPE,
    SIZES,
    TIMED_SIZES,
    TIMINGS,
)

# The columns that a claim may name.
RUN_COLUMNS = {
    "metric": (*SCORES, *OTHER_SCORES, *MEASURES),
    "along": SHAPE,
    "match": (*SHAPE, *SIZES, "n_experts"),
}
ALONG_COLUMNS = (*TIMED_SIZES, "training_width")


def load_claims(path: Path, config: Config | None = None) -> ClaimsFile:
    """Read a claims file, and check every name in it.

    A claim may name the experiments, and their variants, of the config that the file names as
    `experiments_of`, and of `config`, the one in use. What only the former has is no error, but
    will not be testable.

    Raises:
        ConfigError: with one line per fault: the key, what was given and what is allowed.

    """
    values = read_yaml(path, "claims file")
    try:
        with describe_faults("claims"):
            claims = ClaimsFile.model_validate(values)
    except ConfigError as error:
        raise _located(path, str(error).splitlines()) from None
    configs = [load_config(path.parent / claims.experiments_of)]
    configs += [config] if config is not None else []
    blocks: dict[str, list[Experiment]] = {}
    for one in configs:
        for name, block in one.experiments.items():
            blocks.setdefault(name, []).append(block)
    found = [*claims.faults()]
    for name, claim in claims.claims.items():
        if claim.experiment is not None:
            faults = _faults_of_runs(claim, blocks)
        else:
            faults = _faults_of_times(claim, claims.benchmarks.get(claim.block))
        found += [f"claims.{name}.{fault}" for fault in faults]
    if found:
        raise _located(path, found)
    return claims


def _located(path: Path, faults: Iterable[str]) -> ConfigError:
    return ConfigError("\n".join(f"{path}: {fault}" for fault in faults))


def _faults_of_runs(claim: Claim, blocks: dict[str, list[Experiment]]) -> Iterator[str]:
    """Yield what is wrong with the names of a claim about an experiment."""
    if claim.block not in blocks:
        yield _fault("experiment", "experiment", claim.block, blocks)
        return
    experiments = blocks[claim.block]
    assert isinstance(claim.statistic, OfRuns)
    for key, column in claim.statistic.columns().items():
        allowed = RUN_COLUMNS[key.partition("[")[0]]
        if column not in allowed:
            yield _fault(f"statistic.{key}", "column", column, allowed)
    trained = dict.fromkeys(v.name for block in experiments for v in block.variants)
    yield from _unknown_variants(claim, trained)
    products = dict.fromkeys(
        product
        for block in experiments
        for kind in ("figures", "tables")
        for product in block.expand(kind, claim.block)
    )
    if claim.target is not None and claim.target not in products:
        yield _fault("target", "figure or table", claim.target, products)


def _faults_of_times(claim: Claim, variants: Iterable[str] | None) -> Iterator[str]:
    """Yield what is wrong with the names of a claim about a benchmark, one with these variants."""
    for key, column in claim.statistic.columns().items():
        allowed = ALONG_COLUMNS if key == "along" else TIMINGS.header
        if column not in allowed:
            yield _fault(f"statistic.{key}", "column", column, allowed)
    if variants is not None:
        yield from _unknown_variants(claim, variants)
    if claim.target is not None and not claim.target.startswith(claim.block):
        yield f"target = {claim.target!r}: allowed are {claim.block} and names that begin with it"


def _unknown_variants(claim: Claim, allowed: Iterable[str]) -> Iterator[str]:
    allowed = list(allowed)
    for variant in dict.fromkeys(claim.statistic.variants()):
        if variant not in allowed:
            yield _fault("statistic", f"variant of {claim.block}", variant, allowed)


def _fault(key: str, what: str, given: str, allowed: Iterable[str]) -> str:
    return f"{key} = {given!r}: {unknown(f'{what} {given!r}', given, allowed)}"
