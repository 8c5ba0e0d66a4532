"""What comes from strangers over the network: fetched whole, unpacked and read without trust."""
