"""The gate's judgement: counts of an evaluation in, decisions with their evidence out; no files, no servers."""
