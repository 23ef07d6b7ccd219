"""Jobs: one stage of a workspace, computed somewhere else, its results brought back by DVC's run cache."""
