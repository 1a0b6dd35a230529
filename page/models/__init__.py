"""Which models the page offers, what is known of them, and which are in memory."""
