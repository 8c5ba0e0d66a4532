"""The inputs of a run: frames, clips, or what frozen blocks made of them, opened as one split; nothing is trained or scored here."""
