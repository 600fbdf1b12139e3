"""Large pictures: how they are cut, which tiles need a fit, how the results are joined."""
