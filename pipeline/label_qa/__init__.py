"""Checks of masks: what in them is probably wrong, why, and where."""
