"""One trainer for all methods, and the pretraining of tiny CLIPs; no file of a test split is opened here."""
