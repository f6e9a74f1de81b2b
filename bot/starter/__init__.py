"""The embedded base model: how its corpus, tokenizer and weights are made, measured and exported.

Nothing here runs when the desk runs: the shipped folder of weights is read by the engine like any other base.
`python -m bot.starter --help` lists the steps; `README.md` beside this file says how to make a model from nothing.
"""
