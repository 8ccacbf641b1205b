"""What keeps the notebooks honest: the stable writer, the exercise generator and the checks of the exercises."""
