"""Masks as tasks for annotation tools, and the tools' answers as masks."""
