from .picture import (
    from_float as from_float,
)
from .picture import (
    side_by_side as side_by_side,
)
from .picture import (
    to_float as to_float,
)
from .reading import (
    Picture as Picture,
)
from .reading import (
    check_output as check_output,
)
from .reading import (
    read_image as read_image,
)
from .reading import (
    write_image as write_image,
)
