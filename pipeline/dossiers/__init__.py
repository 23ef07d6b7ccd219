"""Builds a version's dossier: the one page that a reviewer reads before deciding."""
