"""Studies: algorithms × numbers of UEs × seeds, trained and evaluated alike, and their results."""
