"""The shared part of all datasets: where a publisher's files come from, how they are read, and the rows that come of them."""
