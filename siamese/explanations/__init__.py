"""Why two photos match: what hides the match, which features carry it, what they look for."""
