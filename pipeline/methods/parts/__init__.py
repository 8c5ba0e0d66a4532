"""Building blocks that several methods are made of; none is a method."""
