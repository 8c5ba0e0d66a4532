"""A stop that is no failure: the same command goes on later."""

EXIT_CODE = 75  # EX_TEMPFAIL of sysexits.h: try again


class Stopped(Exception):
    """The work so far is on the disk, and the same command goes on from there, once what stopped it is gone."""
