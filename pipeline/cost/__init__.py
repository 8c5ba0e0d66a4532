"""The cost of a method: parameters, dead ones, memory, multiply-accumulates; nothing about how well it does."""
