"""Generated portraits with exact alpha, for tests and for a first try without a data set."""
