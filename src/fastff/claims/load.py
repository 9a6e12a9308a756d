"""Reading a claims file, and refusing claims that name what isn't there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from fastff.claims.file import Claim, ClaimsFile
from fastff.config.base import unknown
from fastff.config.errors import ConfigError, describe_faults
from fastff.config.experiment import Drawn
from fastff.config.load import Config, load_config
from fastff.config.yaml_file import read_yaml
from fastff.data.names import DATASET_NAMES


def load_claims(path: Path, config: Config | None = None) -> ClaimsFile:
    """Read a claims file, and check every name in it.

    A claim may name the experiments, and their variants, of the configs that the file names, and
    of `config`, the one in use. What only the former have is no error, but is not tested.

    Raises:
        ConfigError: with one line per fault: the key, what was given and what is allowed.

    """
    values = read_yaml(path, "claims file")
    try:
        with describe_faults("claims"):
            claims = ClaimsFile.model_validate(values)
    except ConfigError as error:
        raise _located(path, str(error).splitlines()) from None
    configs = [load_config(path.parent / name) for name in claims.configs]
    configs += [config] if config is not None else []
    blocks: dict[str, list[Drawn]] = {}
    for one in configs:
        for name, block in {**one.experiments, **one.language_models}.items():
            blocks.setdefault(name, []).append(block)
    found = [
        f"claims.{name}.{fault}"
        for name, claim in claims.claims.items()
        for fault in _faults(claims, claim, blocks)
    ]
    if found:
        raise _located(path, found)
    return claims


def _located(path: Path, faults: Iterable[str]) -> ConfigError:
    return ConfigError("\n".join(f"{path}: {fault}" for fault in faults))


def _faults(file: ClaimsFile, claim: Claim, blocks: dict[str, list[Drawn]]) -> Iterator[str]:
    """Yield what is wrong with the names of a claim, a line each."""
    if claim.source not in file.sources:
        yield _fault("source", "source", claim.source, file.sources)
    published = None if claim.published is None else claim.published.dataset
    if published is not None and published not in DATASET_NAMES:
        yield _fault("published.dataset", "dataset", published, DATASET_NAMES)
    if claim.statistic is None:
        return
    for key, column, allowed in claim.statistic.columns():
        if column not in allowed:
            yield _fault(f"statistic.{key}", "column", column, allowed)
    if claim.benchmark is not None:
        if claim.benchmark not in file.benchmarks:
            yield _fault("benchmark", "benchmark", claim.benchmark, file.benchmarks)
            return
        yield from _unknown_variants(claim, claim.block, file.benchmarks[claim.benchmark])
        if claim.target is not None and not claim.target.startswith(claim.block):
            yield f"target = {claim.target!r}: allowed are {claim.block} and names that begin so"
        return
    for name in claim.variants():
        if name not in blocks:
            key = "experiment" if name == claim.block else "statistic.pairs.experiment"
            yield _fault(key, "experiment", name, blocks)
            return
        yield from _unknown_variants(
            claim, name, dict.fromkeys(v for block in blocks[name] for v in block.variant_names())
        )
    products = dict.fromkeys(
        product
        for block in blocks[claim.block]
        for kind in ("figures", "tables")
        for product in block.expand(kind, claim.block)
    )
    if claim.target is not None and claim.target not in products:
        yield _fault("target", "figure or table", claim.target, products)


def _unknown_variants(claim: Claim, block: str, allowed: Iterable[str]) -> Iterator[str]:
    for variant in dict.fromkeys(claim.variants()[block]):
        if variant not in allowed:
            yield _fault("statistic", f"variant of {block}", variant, allowed)


def _fault(key: str, what: str, given: str, allowed: Iterable[str]) -> str:
    return f"{key} = {given!r}: {unknown(f'{what} {given!r}', given, allowed)}"
