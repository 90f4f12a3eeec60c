"""Made-up orders, and what happens to them."""
