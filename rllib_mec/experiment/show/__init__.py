"""One episode, drawn: a figure, a page and a table of what a policy decided and what came of it."""
