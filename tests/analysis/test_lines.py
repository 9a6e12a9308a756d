"""A variant looks the same in all figures, and like no other in one figure."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

from fastff.analysis.lines import FAMILIES, MARKERS, SHADES, core, family_of, line_styles
from fastff.analysis.style import class_colours, leaf_colours
from fastff.config.load import load_config
from fastff.config.presets import PRESETS

CONFIG = Path(__file__).parents[2] / "config" / "config.yaml"
EXPERIMENTS = load_config(CONFIG).experiments

names = st.lists(st.sampled_from([*PRESETS, *"abcdefgh", "my_variant"]), unique=True)


@given(names)
def test_no_two_look_the_same(variants):
    found = line_styles(variants)
    assert list(found) == variants
    assert len(set(found.values())) == len(variants)


@given(names)
def test_the_preset_looks_the_same_in_every_company(variants):
    alone = line_styles(list(PRESETS))
    assert all(
        look == alone[name] for name, look in line_styles(variants).items() if name in PRESETS
    )


def test_a_family_has_its_colours_and_its_marker():
    for name, look in line_styles([*PRESETS, "dense_3072", "my_moe", "other_fff"]).items():
        assert look.colour in SHADES[family_of(name)]
        assert look.marker == MARKERS[family_of(name)]
    assert len({shade for shades in SHADES.values() for shade in shades}) == 5 * len(SHADES)
    assert len(set(MARKERS.values())) == len(FAMILIES)


# Linear RGB as seen without green and without red cones: Machado et al. 2009, severity 1.
DICHROMATS = (
    [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
)
LAB = [[0.434, 0.376, 0.190], [0.213, 0.715, 0.072], [0.018, 0.109, 0.873]]  # X, Y, Z over white


@pytest.mark.parametrize("seen", DICHROMATS)
def test_families_differ_for_the_colour_blind(seen):
    """By 10 units of CIELAB, where 2.3 are just noticeable; in grey the markers differ."""
    values = np.array([to_rgb(shades[0]) for shades in SHADES.values()])
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    x, y, z = np.cbrt(np.clip(linear @ np.transpose(seen), 0, 1) @ np.transpose(LAB)).T
    lab = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)
    apart = np.linalg.norm(lab[:, None] - lab[None], axis=2)
    assert apart[np.triu_indices(len(lab), 1)].min() > 10


def test_gate_is_shade_and_merged_experts_are_dashed():
    found = line_styles(list(PRESETS))
    for first in PRESETS:
        if "soft_merged" in first:
            assert found[first].dashes
        for second in PRESETS:
            if core(PRESETS[first]) == core(PRESETS[second]):
                assert found[first].colour == found[second].colour


@pytest.mark.parametrize(
    "experiment",
    # those of the published models have a row for each, not a colour
    [name for name, block in EXPERIMENTS.items() if set(block.variant_names()) <= set(PRESETS)],
)
def test_gates_of_one_experiment_differ_in_colour(experiment):
    variants = EXPERIMENTS[experiment].variants
    found = line_styles([variant.name for variant in variants])
    cores = {core(variant) for variant in variants}
    assert len({look.colour for look in found.values()}) == len(cores)


def test_kernels_are_filled_and_plain_forms_hollow():
    found = line_styles(["fff", "fff_gathered", "moe_top1", "moe_gathered"])
    assert [look.filled for look in found.values()] == [True, False, True, False]
    assert found["fff"].colour == line_styles(["fff_mixture_log"])["fff_mixture_log"].colour


def test_one_function_is_one_colour():
    same = ("fff_mixture_logsigmoid", "fff_mixture_product", "fff_mixture_log", "fff_to_plane")
    assert len({look.colour for look in line_styles(same).values()}) == 1
    assert (
        line_styles(["mlp_relu"])["mlp_relu"].colour
        == line_styles(["mlp_to_plane"])["mlp_to_plane"].colour
    )


@pytest.mark.parametrize("n", [1, 2, 4, 8, 13, 32])
def test_leaves_have_colours_of_their_own(n):
    colours = leaf_colours(n)
    assert len(set(colours)) == n
    assert not set(colours) & set(class_colours(10))


def test_sibling_leaves_differ_most():
    def lightness(colour):
        return sum(x * int(colour[k : k + 2], 16) for x, k in ((0.3, 1), (0.59, 3), (0.11, 5)))

    shades = [lightness(colour) for colour in leaf_colours(8)]
    assert all(abs(shades[leaf] - shades[leaf + 1]) > 40 for leaf in range(0, 8, 2))


@pytest.mark.parametrize("n", [2, 4, 8, 16])
def test_leaves_left_of_the_root_are_cool_and_the_others_warm(n):
    redder = [int(colour[1:3], 16) > int(colour[3:5], 16) for colour in leaf_colours(n)]
    assert redder == [False] * (n // 2) + [True] * (n // 2)


def test_other_variants_never_look_like_a_preset():
    others = line_styles([f"mine_{k}" for k in range(20)]).values()
    known = line_styles(list(PRESETS)).values()
    assert not {look.marker for look in others} & {look.marker for look in known}


def test_the_hash_is_stable():
    # pinned: a hash that differs between processes would recolour figures at every run
    look = line_styles(["my_variant"])["my_variant"]
    assert (look.colour, look.dashes, look.marker) == PINNED


def test_class_colours_differ():
    for n in (2, 10, 26):
        assert len(set(class_colours(n))) == n


PINNED = ("#c44e52", (3.0, 1.2, 1.0, 1.2, 1.0, 1.2), "<")


def test_every_variant_of_the_study_has_a_family():
    config = load_config(CONFIG.with_name("paper.yaml"))
    names = {variant.name for block in config.experiments.values() for variant in block.variants}
    assert len(names) > 50
    assert "other" not in {family_of(name) for name in names}
