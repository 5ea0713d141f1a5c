"""Picture files: which they are, in which order, and reading one of them as every viewer shows it."""

from tdfusion_edge.images.listing import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    by_stem,
    list_images,
    natural_order,
    read_names,
    without_partner,
)
from tdfusion_edge.images.reading import PictureFile, read_image, read_image8, read_luma8

__all__ = [
    "IMAGE_SUFFIXES",
    "VIDEO_SUFFIXES",
    "PictureFile",
    "by_stem",
    "list_images",
    "natural_order",
    "read_image",
    "read_image8",
    "read_luma8",
    "read_names",
    "without_partner",
]
