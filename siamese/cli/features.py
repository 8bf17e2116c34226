"""`siamese features`: what a layer of the encoder makes of photos, in a file for one's own studies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from siamese.cli.quiet import quiet_import


def features(
    model: Annotated[Path, typer.Option(help="Model folder that training wrote, as runs/flukes/model.")],
    photos: Annotated[Path, typer.Option(help="Photos: a folder or a manifest.")],
    layer: Annotated[str, typer.Option(help="Layer of the encoder; a wrong name lists all of them.")],
    out: Annotated[Path, typer.Option(help="HDF5 file to write: `image_ids` and `features`, row by row.")],
) -> None:
    """Write the features that a layer of the encoder finds in photos, as HDF5."""
    import siamese

    with quiet_import():
        from siamese.cli.progress import ConsoleListener
        from siamese.explanations.layer_features import write_layer_features
        from siamese.formats import read_collection
        from siamese.settings import ViewSettings
        from siamese.views import read_crops

        matcher = siamese.load(model)
    shown = read_collection(photos).manifest
    read = read_crops(shown, matcher.model.settings.preprocessing, ViewSettings())
    with ConsoleListener() as listener:
        write_layer_features(
            out,
            matcher.model.encoder,
            layer,
            lambda index: read(index)[:, 0],
            shown.image_ids,
            fingerprint=matcher.fingerprint,
            on_progress=lambda done, total: listener.stage("embed", done, total),
        )
    print(f"{out}: features of {layer} for {len(shown)} photos")
