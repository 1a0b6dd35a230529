"""Model and photos -> predictions, with what they cost, what made them, and files of all that."""
