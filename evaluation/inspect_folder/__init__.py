"""A folder of photos of any number: what it holds, what the model says, and where that is kept."""
