"""The files that `denoise` writes for one image: checked before the fit, written after it."""

import dataclasses
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustdip.cli.options import refuse_standard_streams, save
from robustdip.cli.standard_streams import STREAM, named_by_user

if TYPE_CHECKING:
    import numpy as np

    from robustdip.images.picture import Picture
    from robustdip.recovery import Denoised

__all__ = [
    "Outputs",
    "check_array_or_image",
    "map_bytes",
    "place_of",
    "require_distinct",
    "save_all",
]

_ARRAYS = (".safetensors", ".npy")


@dataclass(frozen=True)
class Outputs:
    """The files that are written for one image. None stands for one that is not wanted.

    Attributes
    ----------
    result : Path
        The restored image.
    corruption, mask, uncertainty, compare, overlay, report : Path or None
        What was removed; where; the standard deviation; a strip of input, result and what was
        removed; the mask drawn over the input; and a page that shows all of it.
    """

    result: Path
    corruption: Path | None = None
    mask: Path | None = None
    uncertainty: Path | None = None
    compare: Path | None = None
    overlay: Path | None = None
    report: Path | None = None

    @property
    def kept(self) -> Path:
        """A hidden folder beside the result for finished tiles, until the result is written."""
        return self.result.parent / f".{self.result.name}.tiles"

    def paths(self) -> list[Path]:
        """All files that are wanted."""
        maps = (self.corruption, self.mask, self.uncertainty)
        extras = (*maps, self.compare, self.overlay, self.report)
        return [self.result, *(path for path in extras if path is not None)]

    def check(
        self, inputs: list[Path], *, force: bool, pages: "Sequence[Picture] | None" = None
    ) -> None:
        """Raise FileError now for what would stop the writing after the computation.

        With `pages` also if a format cannot hold them, or what is shown of them. ValueError if the
        report is not named .html, or if there are several pages and more than the result is wanted.
        """
        from overparam.files import check_target
        from robustdip.images.writing import check_output

        refuse_standard_streams(self.paths())
        check_output(self.result, inputs=inputs, force=force, image=pages)
        if pages is not None and len(pages) > 1 and len(self.paths()) > 1:
            name = "the file" if pages[0].path is None else repr(str(named_by_user(pages[0].path)))
            raise ValueError(
                f"{name} has {len(pages)} pages; --save-..., --compare and --report take files of "
                "one"
            )
        if self.report is not None and self.report.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"the report is {str(self.report)!r}; name it .html")
        for path in self.paths()[1:]:
            if path == self.report:
                check_target(path, inputs=inputs, force=force)
                continue
            shown = None if pages is None else _blank(pages[0], strip=path == self.compare)
            if path in (self.corruption, self.uncertainty):
                check_array_or_image(path, inputs=inputs, force=force, image=shown)
            else:
                check_output(path, inputs=inputs, force=force, image=shown)

    def write(
        self,
        pages: "Sequence[Picture]",
        results: "Sequence[Denoised]",
        *,
        method: str,
        force: bool,
    ) -> tuple[Path | None, list[str]]:
        """Write all files, the restored image first. One that fails does not stop the rest.

        Parameters
        ----------
        pages : sequence of Picture
        results : sequence of Denoised
            One of each page.
        method : str
            The name of the method.
        force : bool
            Replace files that exist.

        Returns
        -------
        written : Path or None
            Where the restored image is; None if no place took it.
        failures : list of str
            What could not be written where it should be, and where it is.
        """
        files = self._contents(pages, results, method)
        source = pages[0].path
        if source is not None and named_by_user(source) == STREAM:
            source = None  # its folder is a scratch one, which is gone at the end
        written, failures = save_all(files, force=force, source=source)
        # os.path answers for a name that is too long for the file system too.
        finished = written[0] is not None and results[-1].status == "completed"
        if finished and os.path.isdir(self.kept):
            from robustdip.tiling.kept import discard

            discard(self.kept)
        return written[0], failures

    def _contents(
        self, pages: "Sequence[Picture]", results: "Sequence[Denoised]", method: str
    ) -> Iterator[tuple[Path, bytes]]:
        import numpy as np

        from robustdip.images.masks import overlay
        from robustdip.images.picture import from_float, side_by_side
        from robustdip.images.writing import image_bytes, pages_bytes

        # With the alpha, profile and units of the input.
        restored = [
            dataclasses.replace(page, pixels=result.image)
            for page, result in zip(pages, results, strict=True)
        ]
        yield self.result, pages_bytes(self.result, restored)
        picture, result = pages[0], results[0]
        # Samples under a mask have no part in the range that the result was found in.
        unit = picture.unit if picture.measured or picture.numbers is None else result.white

        def size() -> np.ndarray:  # large: made only where it is asked for
            return from_float(np.abs(result.corruption), np.uint8)

        if self.corruption is not None:
            removed = unit * result.corruption
            yield self.corruption, map_bytes(self.corruption, "corruption", removed, size())
        if self.mask is not None:
            yield self.mask, image_bytes(self.mask, result.mask.astype(np.uint8) * 255)
        if self.uncertainty is not None:
            values = result.uncertainty
            if values is None:  # refused by check_method
                raise ValueError("this method gives no uncertainty")
            shown = from_float((10 * values).clip(0, 1), np.uint8)
            yield (
                self.uncertainty,
                map_bytes(self.uncertainty, "uncertainty", unit * values, shown),
            )
        if self.compare is not None:
            shown = [picture.pixels, result.image, size()]
            strip = side_by_side(shown, white=result.white)
            yield self.compare, image_bytes(self.compare, strip)
        if self.overlay is not None:
            drawn = overlay(picture.pixels, result.mask, white=result.white)
            yield self.overlay, image_bytes(self.overlay, drawn)
        if self.report is not None:
            from robustdip.report import report_page

            name = "picture" if picture.path is None else picture.path.name
            yield self.report, report_page(picture, result, name=name, method=method)


def _blank(picture: "Picture", *, strip: bool) -> "Picture":
    """A picture of the size of what is shown of another: formats hold so many pixels a side."""
    import numpy as np

    from robustdip.images.picture import Picture, side_by_side

    height, width = picture.pixels.shape[:2]
    if strip:
        width = side_by_side([np.zeros((1, width), np.uint8)] * 3).shape[1]
    return Picture(np.broadcast_to(np.uint8(0), (height, width, 3)))  # without a copy


def save_all(
    files: Iterable[tuple[Path, bytes]], *, force: bool, source: Path | None
) -> tuple[list[Path | None], list[str]]:
    """Write every file; one that fails does not stop the rest.

    Parameters
    ----------
    files : iterable of (Path, bytes)
    force, source
        See `robustdip.cli.options.save`.

    Returns
    -------
    written : list of Path or None
        Where each file is; None if no place took it.
    failures : list of str
        What could not be written where it should be, and where it is.
    """
    from overparam.files import FileError, MovedError

    written: list[Path | None] = []
    failures: list[str] = []
    for path, data in files:
        try:
            written.append(save(path, data, force=force, source=source))
        except FileError as error:
            written.append(error.path if isinstance(error, MovedError) else None)
            failures.append(str(error))
    return written, failures


def check_array_or_image(
    path: Path, *, inputs: list[Path], force: bool, image: "Picture | None" = None
) -> None:
    """Raise FileError now for what would stop the writing of `map_bytes`.

    With the `image` also if it would be too large for its format.
    """
    from overparam.files import FileError, check_target, file_errors
    from robustdip.images.numeric import FITS
    from robustdip.images.writing import check_output

    if path.suffix.lower() in FITS:
        with file_errors("write", path):
            raise FileError("it would be a picture of 8 bits; name it .npy or .safetensors")
    if path.suffix.lower() in _ARRAYS:
        check_target(path, inputs=inputs, force=force)
    else:
        check_output(path, inputs=inputs, force=force, image=image)


def map_bytes(path: Path, name: str, values: "np.ndarray", picture: "np.ndarray") -> bytes:
    """A file of `values` as an array, or of `picture` if the suffix names an image format."""
    import numpy as np

    suffix = path.suffix.lower()
    if suffix == ".npy":
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        return buffer.getvalue()
    if suffix == ".safetensors":
        from safetensors.numpy import save as safetensors_bytes

        return safetensors_bytes({name: np.ascontiguousarray(values)})
    from robustdip.images.writing import image_bytes

    return image_bytes(path, picture)


def require_distinct(paths: Iterable[Path]) -> None:
    """Raise ValueError if two results would be written to one file."""
    seen: set[str] = set()
    for path in paths:
        if place_of(path) in seen:
            raise ValueError(f"two results would be written to {str(path)!r}; name them apart")
        seen.add(place_of(path))


def place_of(path: Path) -> str:
    """One name for a file, however its folder is spelled. A link is a file of its own."""
    return os.path.join(os.path.realpath(path.parent), path.name)
