"""Where and how a process computes: device, several processes, reading ahead, signals; nothing about what it computes."""
