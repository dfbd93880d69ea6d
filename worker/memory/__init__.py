"""How a model lies in memory: sizes, the plan, and its placement."""
