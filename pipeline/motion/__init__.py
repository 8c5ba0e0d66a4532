"""The embedded dataset's world: scenes that move, their captions, their files; pretraining draws from it too, and it knows no dataset."""
