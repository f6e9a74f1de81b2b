"""From transcripts to an adapter: recipe, rows, training, the gate, a new version with its card."""
