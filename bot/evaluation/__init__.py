"""The proof: which should this desk use, prompt, adapter, or both? Measured on its own held-out conversations."""
