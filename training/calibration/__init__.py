"""What photos that were not learned from say: choices, scores, thresholds, and who stands out."""
