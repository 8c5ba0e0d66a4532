"""One video file: probed, transcoded, sampled on a grid; which videos there are is not known here."""
