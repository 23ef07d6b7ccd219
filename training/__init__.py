"""Segmentation on tensors and arrays: data, model, losses, metrics, tiled inference; no servers, no pipeline."""
