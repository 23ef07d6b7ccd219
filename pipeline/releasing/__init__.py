"""Releases of the dataset: what one is, how it is made so that it can be trusted, how it is read and compared."""
