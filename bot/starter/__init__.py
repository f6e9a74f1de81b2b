"""The embedded base model (`model/`): a small LlamaForCausalLM of our own, plain transformers files."""
