"""How results and models are shown, and what a visitor takes home."""
