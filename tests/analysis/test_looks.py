"""A variant looks the same in all figures, and like no other in one figure."""

from hypothesis import given
from hypothesis import strategies as st

from fastff.analysis.looks import EXPERTS_STYLE, looks, palette
from fastff.analysis.style import class_colours
from fastff.zoo import ZOO

names = st.lists(st.sampled_from([*ZOO, *"abcdefgh", "my_variant"]), unique=True)


@given(names)
def test_no_two_look_the_same(variants):
    found = looks(variants)
    assert list(found) == variants
    assert len(set(found.values())) == len(variants)


@given(names)
def test_the_zoo_looks_the_same_in_every_company(variants):
    alone = looks(list(ZOO))
    assert all(look == alone[name] for name, look in looks(variants).items() if name in ZOO)


def test_gate_is_colour_and_experts_are_dashes():
    found = looks(list(ZOO))
    for first in ZOO:
        for second in ZOO:
            same_gate = ZOO[first].gate == ZOO[second].gate
            same_experts = ZOO[first].experts == ZOO[second].experts
            if same_gate:
                assert found[first].colour == found[second].colour
            else:  # with more gates than colours, the marker tells them apart
                assert (found[first].colour, found[first].marker) != (
                    found[second].colour, found[second].marker,
                )  # fmt: skip
            assert (found[first].dashes == found[second].dashes) == same_experts


def test_the_first_gates_have_a_colour_each():
    gates = list(dict.fromkeys(variant.gate for variant in ZOO.values()))[: len(palette())]
    found = looks(list(ZOO))
    colours = {found[name].colour for name, v in ZOO.items() if v.gate in gates}
    assert len(gates) == len(palette()) == len(colours)


def test_other_variants_never_look_like_one_of_the_zoo():
    others = looks([f"mine_{k}" for k in range(20)]).values()
    assert not {look.marker for look in others} & {marker for _, marker in EXPERTS_STYLE.values()}


def test_the_hash_is_stable():
    # pinned: a hash that differs between processes would recolour figures at every run
    look = looks(["my_variant"])["my_variant"]
    assert (look.colour, look.dashes, look.marker) == PINNED


def test_class_colours_differ():
    for n in (2, 10, 26):
        assert len(set(class_colours(n))) == n


PINNED = ("#ca9161", (4.0, 1.0, 1.0, 1.0), "X")
