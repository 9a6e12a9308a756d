"""Random changes of images: what they do, and how often."""

import pytest
import torch

from fastff.config.recipe import AugmentationSpec
from fastff.layers.linear import Random
from fastff.train.augmentation import Augmentation

SHAPE = (2, 6, 8)


class Given(Random):
    """The same numbers for every image: of the angle, the scale, two moves, and two flips."""

    def __init__(self, numbers):
        super().__init__()
        self.numbers = numbers

    def uniform(self, like):
        return torch.tensor(self.numbers).expand(like.shape)


def changed(images, spec, *numbers, shape=SHAPE):
    """Return images (b, c, y, x), changed by the numbers drawn, 0.5 for all others."""
    given = Given([*numbers, *[0.5] * (6 - len(numbers))])
    x = images.flatten(1).unsqueeze(0)
    return Augmentation(spec, shape, given)(x)[0].unflatten(-1, shape)


@pytest.fixture
def images(generator):
    return torch.randn(5, *SHAPE, generator=generator)


def close(found, expected):
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)


def test_without_anything_asked_for_nothing_changes(images):
    close(changed(images, AugmentationSpec(), 0.1, 0.2, 0.3, 0.4, 0.1, 0.1), images)


@pytest.mark.parametrize(("name", "dimension"), [("horizontal", -1), ("vertical", -2)])
def test_flips_mirror_every_other_image(name, dimension, images):
    spec = AugmentationSpec(flips=(name,))
    close(changed(images, spec, 0.5, 0.5, 0.5, 0.5, 0.2, 0.2), images.flip(dimension))
    close(changed(images, spec, 0.5, 0.5, 0.5, 0.5, 0.7, 0.7), images)
    runs = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    augment = Augmentation(spec, SHAPE, Random(runs))
    many = images[:1].flatten(1).expand(2, 400, -1)
    mirrored = augment(many).unflatten(-1, SHAPE).sub(images[0]).abs().amax((-1, -2, -3)) > 1e-3
    assert 0.4 < mirrored.double().mean() < 0.6
    assert not torch.equal(mirrored[0], mirrored[1])


def test_images_move_by_a_share_of_their_sides(images):
    moved = changed(images, AugmentationSpec(translate=0.5), 0.5, 0.5, 0.75, 0.5)
    close(moved[..., :-2], images[..., 2:])
    close(moved[..., -2:], torch.zeros(5, 2, 6, 2))
    moved = changed(images, AugmentationSpec(translate=0.5), 0.5, 0.5, 0.5, 0.0)
    close(moved[..., 3:, :], images[..., :3, :])
    close(moved[..., :3, :], torch.zeros(5, 2, 3, 8))


def test_images_turn_around_their_middle(images):
    close(changed(images, AugmentationSpec(rotate=180.0), 0.0), images.flip(-1, -2))
    square = images[..., :6].contiguous()
    turned = changed(square, AugmentationSpec(rotate=180.0), 0.75, shape=(2, 6, 6))
    close(turned, square.rot90(-1, (-2, -1)))
    centre = torch.zeros(1, *SHAPE)
    centre[..., 2:4, 2:6] = 1  # 2 high and 4 wide: a quarter of a turn stands it up
    upright = torch.zeros(1, *SHAPE)
    upright[..., 1:5, 3:5] = 1
    close(changed(centre, AugmentationSpec(rotate=180.0), 0.75), upright)


def test_images_shrink_and_grow():
    ones = torch.ones(1, *SHAPE)
    shrunk = torch.zeros_like(ones)
    shrunk[..., 2:4, 2:6] = 1
    found = changed(ones, AugmentationSpec(scale=0.5), 0.5, 0.0)
    close(found[..., 2:4, 2:6], shrunk[..., 2:4, 2:6])
    assert found[..., 0, :].abs().max() == 0 and found[..., 0].abs().max() == 0
    grown = changed(shrunk, AugmentationSpec(scale=0.5), 0.5, 1.0)
    assert grown.sum() == pytest.approx(1.5**2 * shrunk.sum().item(), rel=0.1)


@pytest.mark.parametrize(
    ("key", "value"), [("scale", 1.0), ("rotate", 181.0), ("translate", -0.1), ("flips", ("up",))]
)
def test_what_can_t_be_is_refused(key, value):
    with pytest.raises(ValueError, match=key):
        AugmentationSpec(**{key: value})
