"""Augmentation of published systems, as values of the augmentation settings.

Numbers come from the authors' text or code. A comment marks the ones that they did not publish, and what cannot be
told with these settings. Sizes in pixels became shares of the sides the system used.
"""

from __future__ import annotations

from typing import Any, Literal

Preset = Literal[
    "piotte", "deepwhale", "deepsense", "lau", "shakhray", "qiao", "shen", "park", "bratan", "solovyev"
]  # fmt: skip

STILL: dict[str, Any] = {"rotation": 0, "shear": 0, "zoom": (1, 1), "shift": 0}

PRESETS: dict[str, dict[str, Any]] = {
    # Piotte's kernel of 2018: the geometry alone, both zooms on their own.
    "piotte": {"rotation": 5, "shear": 5, "zoom": (0.8, 1.0), "shift": 0.05, "fill": "mean"},
    # DeepWhale poster: "random shear, rotation, left-right flip, zoom"; no number is published, so Piotte's, whose
    # branch it trained, and a flip of every second photo.
    "deepwhale": {**STILL, "rotation": 5, "shear": 5, "zoom": (0.8, 1.0), "flip": 0.5},
    # deepsense.io, the classifier of 256 x 256 pixels. What lies beyond the edge and the scale of the colour noise are
    # unknown; colours count from 0 to 1 here.
    "deepsense": {
        **STILL,
        "rotation": 8,
        "zoom": (1.0, 1.3),
        "zoom_axes": "together",
        "shift": 4 / 256,
        "flip": 0.5,
        "changes": ({"kind": "pca_colour", "size": 0.01},),
    },
    # Felix Lau's code, the widest of his ranges: shift 32 to 64 of 256 pixels, gamma 0.8-1.2 to 0.5-1.5, rotation 30
    # to 45, shear 0.1 to 0.25 radians. Gamma is even in its logarithm here.
    "lau": {
        **STILL,
        "rotation": 45,
        "shear": 14.3,
        "zoom": (0.5, 1.5),
        "zoom_axes": "together",
        "shift": 64 / 256,
        "flip": 0.5,
        "flip_vertical": 0.5,
        "changes": ({"kind": "gamma", "exponent": (0.5, 1.5)},),
    },
    # 10th place, Shakhray: "Gaussian noise, blur, brightness, contrast, random crop". No number is published; all of
    # these are ours. His smart flips belong to the pairs.
    "shakhray": {
        **STILL,
        "corners": (0.0, 0.1),
        "changes": (
            {"kind": "noise", "size": (0, 0.05), "probability": 0.5},
            {"kind": "blur", "size": (0, 1.5), "probability": 0.5},
            {"kind": "brightness", "size": (-0.1, 0.1)},
            {"kind": "contrast", "factor": (0.8, 1.2)},
        ),
    },
    # Qiao et al., 1st, 256 x 512 pixels. Two of the four lights do nothing there (gamma 1, multiply 1), so a quarter of
    # the photos get another light. Rotations are whole degrees there, and shift and scale came last.
    "qiao": {
        **STILL,
        "rotation": 25,
        "zoom": (0.9, 1.0),
        "zoom_axes": "together",
        "shift": (10 / 256, 15 / 512),
        "geometry_probability": {"rotation": 0.5, "zoom": 0.5, "shift": 0.5},
        "fill": "zero",
        "changes": (
            {
                "one_of": ({"kind": "speckle", "size": (0.1, 0.1)}, {"kind": "noise", "size": (0.1, 0.1)}),
                "probability": 0.5,
            },
            {
                "one_of": ({"kind": "brightness", "size": (25 / 255, 25 / 255)}, {"kind": "local_contrast"}),
                "probability": 0.25,
            },
            {"kind": "erase", "size": (0.02, 0.04), "paint": "zero", "probability": 0.5},
            {"kind": "drop_mask", "probability": 0.5},
        ),
        "new_identities": ("flip",),
    },
    # Shen, 2nd. None to two of five were drawn in random order; the two that bend or tilt belong to the geometry here,
    # so each of the five comes with its share of one fifth. Hue and saturation moved by 5 of 255 levels.
    "shen": {
        **STILL,
        "rotation": 15,
        "shear": 15,
        "perspective": 0.1,
        "corners": (0.0, 0.25),
        "elastic": (0.01, 0.03),
        "geometry_probability": {"corners": 0.5, "perspective": 0.2, "elastic": 0.2},
        "fill": "edge",
        "changes": (
            {"kind": "grey", "probability": 0.5},
            {
                "some_of": (
                    {"kind": "blur", "size": (0, 1.5), "probability": 0.2},
                    {"kind": "noise", "size": (0, 0.01), "per_channel": 0.5, "probability": 0.2},
                    {"kind": "hue_saturation", "hue": (-7, 7), "saturation": (0.96, 1.04), "probability": 0.2},
                )
            },
        ),
        "new_identities": ("flip",),
    },
    # Park, 3rd. The affine map stood at a random place of the order; it comes first here.
    "park": {
        "rotation": 10,
        "shear": 10,
        "zoom": (0.9, 1.1),
        "shift": 0.05,
        "geometry_probability": {"all": 0.5},
        "fill": "zero",
        "changes": (
            {
                "some_of": (
                    {"kind": "average_blur", "size": (3, 3), "probability": 0.5},
                    {"kind": "motion_blur", "size": (3, 5), "probability": 0.5},
                    {"kind": "brightness", "size": (-10 / 255, 10 / 255)},
                    {"kind": "multiply", "factor": (0.9, 1.1), "per_channel": 0.5},
                    {"kind": "grey", "share": (0.8, 1.0), "probability": 0.5},
                )
            },
        ),
        "new_identities": ("flip",),
    },
    # BratanNet, 9th: the twelve changes that a random search found. Only the rotation of 16 degrees is published; the
    # other numbers and all probabilities are ours.
    "bratan": {
        **STILL,
        "rotation": 16,
        "shear": 5,
        "zoom": (0.9, 1.1),
        "zoom_axes": "together",
        "shift": 0.0625,
        "perspective": 0.1,
        "elastic": (0.0, 0.02),
        "flip": 0.5,
        "geometry_probability": {"perspective": 0.5, "shear": 0.5, "elastic": 0.5},
        "changes": (
            {"kind": "brightness", "size": (-0.2, 0.2), "probability": 0.5},
            {"kind": "contrast", "factor": (0.8, 1.2), "probability": 0.5},
            {"kind": "gamma", "exponent": (0.8, 1.2), "probability": 0.5},
            {"one_of": ({"kind": "blur"}, {"kind": "motion_blur", "size": (3, 7)}), "probability": 0.5},
            {"kind": "erase", "size": (0.1, 0.2), "probability": 0.5},
        ),
    },
    # Solovyev and Wang, 5th. Left out: median blur and emboss. The sizes of noise, blur, hue and sharpening are ours.
    "solovyev": {
        **STILL,
        "rotation": 20,
        "zoom": (0.95, 1.05),
        "zoom_axes": "together",
        "shift": 0.02,
        "flip": 0.001,
        "geometry_probability": {"all": 0.9},
        "changes": (
            {"kind": "noise", "size": (0, 0.05), "probability": 0.1},
            {"one_of": ({"kind": "motion_blur"}, {"kind": "average_blur", "size": (3, 3)}), "probability": 0.1},
            {"one_of": ({"kind": "local_contrast"}, {"kind": "sharpen"}), "probability": 0.1},
            {
                "one_of": (
                    {"kind": "brightness", "size": (-20 / 255, 20 / 255), "per_channel": 1.0},
                    {"kind": "hue_saturation"},
                ),
                "probability": 0.5,
            },
            {"kind": "jpeg", "quality": (55, 99), "probability": 0.2},
            {"kind": "grey", "probability": 0.05},
        ),
    },
}
