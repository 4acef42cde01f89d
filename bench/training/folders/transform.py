"""Transform: what is done to an image and its labels before a network sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bench.training.labels import IGNORE
from modules.options import SpecError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_SD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Transform:
    """Augmentation of training images, and the normalisation of all. The fields are those of a recipe.

    Attributes:
        crop: (height, width) in pixels that are cut out at random; what an image lacks is padded, around a place
            drawn at random, with the mean colour and `IGNORE`. Null for the whole image.
        scale_low, scale_high: bounds of the factor by which an image is resized before the crop, drawn uniformly;
            bilinear for images (averaging where it shrinks them), nearest for labels.
        flip: mirrored left to right, every other time.
        brightness: bound of what is added to all channels, drawn uniformly from both sides of 0, in units of full
            scale; the result is kept within 0 and 1.
        mean, sd: of the channels red, green and blue, in units of full scale: those of ImageNet.

    Raises:
        SpecError: a field that cannot be.
    """

    crop: tuple[int, int] | None = None
    scale_low: float = 1.0
    scale_high: float = 1.0
    flip: bool = False
    brightness: float = 0.0
    mean: tuple[float, float, float] = IMAGENET_MEAN
    sd: tuple[float, float, float] = IMAGENET_SD

    def __post_init__(self) -> None:
        if self.crop is not None and (len(self.crop) != 2 or min(self.crop) < 1):
            raise SpecError(f"crop {self.crop} cannot be; allowed: two positive numbers of pixels")
        if not 0 < self.scale_low <= self.scale_high < math.inf:
            raise SpecError(f"scales {self.scale_low:g} to {self.scale_high:g} cannot be; allowed: positive, low first")
        if self.crop is None and (self.scale_low, self.scale_high) != (1, 1):
            raise SpecError("a random scale needs a crop, for images of a batch are of one size")
        if not 0 <= self.brightness <= 1:
            raise SpecError(f"brightness {self.brightness:g} cannot be; allowed: 0 to 1")
        if min(self.sd) <= 0:
            raise SpecError(f"sd {self.sd} cannot be; allowed: positive numbers")


@dataclass(frozen=True)
class _Span:
    """Of one axis: the crop covers `start` to `start + length` of the resized image, and sets it at `at`."""

    start: int
    length: int
    at: int


def normalise(transform: Transform, image_HW3: NDArray[np.uint8], brightness: float = 0.0) -> NDArray[np.float32]:
    """The image as (3,H,W), of mean 0 and standard deviation 1 over ImageNet."""
    image = image_HW3.astype(np.float32)
    image /= 255
    if brightness:
        image += np.float32(brightness)
        image.clip(0, 1, out=image)
    image -= np.array(transform.mean, np.float32)
    image /= np.array(transform.sd, np.float32)
    return np.ascontiguousarray(image.transpose(2, 0, 1))


def augment(
    transform: Transform, image_HW3: NDArray[np.uint8], label_HW: NDArray[np.uint8], random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Image (3,h,w), normalised, and labels (h,w), of the size of the crop if there is one.

    Five numbers are drawn whatever is switched on, so that one switch leaves the other draws as they were.
    """
    scale_at, top_at, left_at, flip_at, light_at = random.random(5)
    light = transform.brightness * (2 * light_at - 1)
    if transform.crop is None:
        image, label = normalise(transform, image_HW3, light), label_HW
    else:
        scale = transform.scale_low + (transform.scale_high - transform.scale_low) * scale_at
        image, label = _crop(transform, image_HW3, label_HW, scale, (top_at, left_at), light)
    if transform.flip and flip_at < 0.5:
        image, label = image[:, :, ::-1], label[:, ::-1]
    return np.ascontiguousarray(image), np.ascontiguousarray(label)


def _crop(
    transform: Transform,
    image_HW3: NDArray[np.uint8],
    label_HW: NDArray[np.uint8],
    scale: float,
    place: tuple[float, float],
    light: float,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Resize only what the crop shows of the image; the rest of the crop is mean and `IGNORE`."""
    assert transform.crop is not None
    height, width = label_HW.shape
    tall, wide = (max(1, round(side * scale)) for side in (height, width))
    rows, columns = (_span(*sides) for sides in zip((tall, wide), transform.crop, place, strict=True))
    box = (
        columns.start * width / wide,
        rows.start * height / tall,
        min(width, (columns.start + columns.length) * width / wide),
        min(height, (rows.start + rows.length) * height / tall),
    )
    size = (columns.length, rows.length)
    seen = np.asarray(Image.fromarray(image_HW3).resize(size, Image.Resampling.BILINEAR, box))
    image = np.zeros((3, *transform.crop), np.float32)
    label = np.full(transform.crop, IGNORE, np.uint8)
    down, across = slice(rows.at, rows.at + rows.length), slice(columns.at, columns.at + columns.length)
    image[:, down, across] = normalise(transform, seen, light)
    label[down, across] = label_HW[_nearest(rows, height, tall)[:, None], _nearest(columns, width, wide)]
    return image, label


def _span(side: int, crop: int, place: float) -> _Span:
    start = int(place * (max(side - crop, 0) + 1))
    at = int(place * (max(crop - side, 0) + 1))
    return _Span(start, min(side, crop), at)


def _nearest(span: _Span, side: int, resized: int) -> NDArray[np.int64]:
    """Of each pixel that the crop shows, the pixel of the image that its centre falls into."""
    centres = (np.arange(span.start, span.start + span.length) + 0.5) * side / resized
    return np.minimum(centres.astype(np.int64), side - 1)
