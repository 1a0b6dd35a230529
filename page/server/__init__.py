"""Around the page: what browsers may do, how much one may ask, who may see it, what is removed."""
