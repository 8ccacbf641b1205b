"""What keeps the notebooks honest: their writer, rules, exercises and the checks of the exercises."""
