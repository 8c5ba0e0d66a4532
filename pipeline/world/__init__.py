"""The `motion` world: small scenes that move, their captions, and the files they are stored in."""
