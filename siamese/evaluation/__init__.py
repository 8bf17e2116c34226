"""How good a ranking is: retrieval, open set, plain baselines, the picture sheet and the report."""
