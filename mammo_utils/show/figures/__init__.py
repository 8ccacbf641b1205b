"""One module of figure functions for each notebook; every function returns a matplotlib ``Figure``."""
