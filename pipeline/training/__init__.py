"""One trainer for all methods, and the pretraining of clip-tiny; no file of a test split is opened here."""
