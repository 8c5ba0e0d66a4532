"""Building blocks that several methods are made of."""
