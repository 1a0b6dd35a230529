"""Photos before any model: their facts, statistics, duplicates and problems, and a page of them."""
