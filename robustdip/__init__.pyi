__version__: str

from .defects import shared_defects as shared_defects
from .fitting.loop import Step as Step
from .fitting.loop import fit as fit
from .images.picture import Picture as Picture
from .images.reading import read_image as read_image
from .images.writing import write_image as write_image
from .methods import METHODS as METHODS
from .methods import Method as Method
from .methods import register as register
from .recipes import RECIPES as RECIPES
from .recipes import Recipe as Recipe
from .recovery import Denoised as Denoised
from .recovery import DivergedError as DivergedError
from .recovery import NotEnoughMemoryError as NotEnoughMemoryError
from .recovery import denoise as denoise
from .synthetic import Damaged as Damaged
from .synthetic import corrupt as corrupt
from .synthetic import damage as damage
