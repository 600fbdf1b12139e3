from .picture import Picture as Picture
from .picture import from_float as from_float
from .picture import side_by_side as side_by_side
from .picture import to_float as to_float
from .reading import read_image as read_image
from .writing import check_output as check_output
from .writing import image_bytes as image_bytes
from .writing import write_image as write_image
