"""Takes annotated batches from where others put them: what a batch must say, how it is fetched, judged and moved."""
