"""What runs the model: `local` (transformers + PEFT), `remote` (any OpenAI-compatible server), `scripted` (no model).

The seam itself is `bot.types.Engine`.
"""
