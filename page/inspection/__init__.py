"""Photos in, results out: one by one or as a batch; what a visitor gave lies in a folder."""
