"""What the files of datasets share: where the publisher's files come from, how they are read, and the rows that come of them."""
