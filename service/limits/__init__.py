"""How many requests are taken, of whom."""
