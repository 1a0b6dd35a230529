"""Photos as training takes them: decoded once, augmented, damaged, dealt out in batches."""
