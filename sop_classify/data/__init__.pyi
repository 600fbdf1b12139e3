from .image_data import (
    ImageData as ImageData,
)
from .image_data import (
    Indexed as Indexed,
)
from .image_data import (
    absent_class as absent_class,
)
from .image_data import (
    channel_statistics as channel_statistics,
)
from .image_data import (
    subset as subset,
)
from .loading import load_data as load_data
