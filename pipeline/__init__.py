"""Stages (files to files) and actions (change the world), one module each."""
