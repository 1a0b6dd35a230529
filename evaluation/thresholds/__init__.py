"""Rules that set a threshold, trials of what they promise, and the report on both."""
