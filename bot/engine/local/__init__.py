"""The engine in this process: transformers + PEFT, with exactly one thread that touches the model."""
