"""The doctor: looks at machine, folder and settings before a run, says what is wrong and its remedy, and changes nothing."""
