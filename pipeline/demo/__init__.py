"""The demo dataset: rendered warehouse scenes, and label faults of known kind and place."""
