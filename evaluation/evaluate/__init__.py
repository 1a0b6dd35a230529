"""Model and photos -> predictions and figures, what they cost, what made them, and files of it."""
