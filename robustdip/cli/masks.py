"""Where pictures are damaged: the masks that a person gives, and what is missing in the files."""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING

from overparam.words import counted
from robustdip.cli.remarks import WARNING

if TYPE_CHECKING:
    import numpy as np

    from robustdip.images.picture import Picture

__all__ = ["MaskFiles", "Masks", "nothing_missing", "spread", "with_missing"]


@dataclass(frozen=True)
class MaskFiles:
    """The files that say where all pictures are damaged; None for one that is not given."""

    mask: Path | None = None
    add_mask: Path | None = None
    protect: Path | None = None
    defects: Path | None = None
    exact: bool = False
    """Whether `defects` join `mask`, else `add_mask`."""

    def paths(self) -> dict[str, Path]:
        """The files that are given, by the names of their options."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: path for name, path in named.items() if isinstance(path, Path)}

    def read(self, remarks: list[str]) -> "Masks":
        """Read the files; what a person should know of them is added to `remarks`."""
        from robustdip.images.masks import read_defects

        return Masks(
            mask=_marked(self.mask, remarks),
            add_mask=_marked(self.add_mask, remarks),
            protect=_marked(self.protect, remarks),
            defects=None if self.defects is None else read_defects(self.defects),
            exact=self.exact,
        )


@dataclass(frozen=True, eq=False)
class Masks:
    """Where samples are damaged exactly, damaged certainly, and certainly not damaged."""

    mask: "np.ndarray | None"
    add_mask: "np.ndarray | None"
    protect: "np.ndarray | None"
    defects: "np.ndarray | None" = None
    """Joined to `mask` if that is `exact`, else to `add_mask`."""
    exact: bool = False

    def fitted_to(self, picture: "Picture") -> "Masks":
        """The masks in the shape of a picture; refused before torch is loaded if sizes differ."""
        shape = picture.pixels.shape

        def fitted(name: str) -> "np.ndarray | None":
            marked: np.ndarray | None = getattr(self, name)
            if marked is None:
                return None
            if marked.shape[:2] != shape[:2]:
                which = "" if name == "mask" else f" of --{name.replace('_', '-')}"
                raise ValueError(
                    f"the mask{which} has shape {marked.shape}, the image {shape}; make them agree"
                )
            # Many programs save grey as RGB.
            return marked.max(axis=2) if marked.ndim > len(shape) else marked

        mask, add_mask, protect, defects = map(fitted, ("mask", "add_mask", "protect", "defects"))
        if defects is None:
            return Masks(mask, add_mask, protect)
        return Masks(mask, add_mask, protect).joined(defects, exact=self.exact)

    def joined(self, marked: "np.ndarray", *, exact: bool) -> "Masks":
        """With further damage, joined to `mask` if that is `exact`, else to `add_mask`."""
        if exact:
            return replace(self, mask=_either(self.mask, marked))
        return replace(self, add_mask=_either(self.add_mask, marked))


def nothing_missing(pages: "list[Picture]", no_data: float | None) -> bool:
    """Whether there is a value that stands for missing data, and no sample of the pages has it."""
    from robustdip.images.units import missing

    return no_data is not None and not any(
        missing(page.pixels if page.numbers is None else page.numbers.values, no_data).any()
        for page in pages
    )


def with_missing(
    masks: list[Masks], pages: "list[Picture]", *, method: str, no_data: float | None
) -> list[Masks]:
    """The masks of the pages, with what is missing or not finite, which is known to be damaged.

    Parameters
    ----------
    masks : list of Masks
        Of each page.
    pages : list of Picture
    method : str
        A key of `robustdip.methods.METHODS`.
    no_data : float or None
        The value that stands for missing data.

    Raises
    ------
    ValueError
        If something is missing, and the method takes no mask that could tell it.
    """
    import numpy as np

    from robustdip.methods import METHODS

    bad = [_missing(page, no_data) for page in pages]
    if METHODS[method].needs_mask and (
        no_data is not None or any(each is not None for each in bad)
    ):
        # A page without anything missing, beside others of its file or with --no-data, is as it is.
        bad = [
            np.zeros(page.pixels.shape, bool) if each is None and known.mask is None else each
            for page, each, known in zip(pages, bad, masks, strict=True)
        ]
    return [
        known if each is None else _with_bad(known, each, method)
        for known, each in zip(masks, bad, strict=True)
    ]


def _missing(page: "Picture", no_data: float | None) -> "np.ndarray | None":
    """Where values are missing or not finite; None if none is."""
    from robustdip.images.units import missing

    if page.numbers is not None:
        return page.numbers.bad
    bad = None if no_data is None else missing(page.pixels, no_data)
    return bad if bad is not None and bad.any() else None


def _with_bad(masks: Masks, bad: "np.ndarray", name: str) -> Masks:
    from robustdip.methods import METHODS

    method = METHODS[name]
    if not method.takes_mask:
        raise ValueError(
            f"{counted(int(bad.sum()), 'value is', 'values are')} missing or not finite, which a "
            f"mask has to tell, and method {name!r} takes none; use another"
        )
    if masks.protect is not None:  # there is no value to keep
        masks = replace(masks, protect=~_either(~masks.protect, bad))
    return masks.joined(bad, exact=masks.mask is not None or not method.takes_certain)


def spread(mask: "np.ndarray", shape: tuple[int, ...]) -> "np.ndarray":
    """A mask (H, W) or of this shape, in this shape."""
    import numpy as np

    return np.broadcast_to(mask if mask.ndim == len(shape) else mask[..., None], shape)


def _either(mask: "np.ndarray | None", marked: "np.ndarray") -> "np.ndarray":
    """Two masks, (H, W) or (H, W, 3), as one."""
    if mask is None:
        return marked
    if mask.ndim == marked.ndim:
        return mask | marked
    return (mask if mask.ndim == 3 else mask[..., None]) | (
        marked if marked.ndim == 3 else marked[..., None]
    )


def _marked(path: Path | None, remarks: list[str]) -> "np.ndarray | None":
    """Read a mask. Say what counts as marked if it is nothing, most of it, or not the usual."""
    from overparam.program import quiet_libraries
    from robustdip.images.masks import read_mask

    if path is None:
        return None
    with quiet_libraries():
        mask = read_mask(path)
    fraction = float(mask.marked.mean())
    said = f"{str(path)!r} marks {fraction:.3%} of the samples: {mask.rule}"
    if fraction == 0:
        remarks.append(f"{WARNING}{str(path)!r} marks nothing: {mask.rule} is marked")
    elif 0.5 < fraction < 1:
        remarks.append(f"{WARNING}{said}; invert it if that is wrong")
    elif mask.rule != "what is not black":
        remarks.append(said)
    return mask.marked
