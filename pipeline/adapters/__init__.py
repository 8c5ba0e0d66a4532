"""A trained adapter: its file, on and off a CLIP, and at work; how it was trained is not its business."""
