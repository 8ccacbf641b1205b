"""Where a network looked, scored against known truth."""
