"""Downloads from strangers: fetched whole, unpacked and read without trust."""
