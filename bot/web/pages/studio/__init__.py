"""The leads' studio: where prompts are found, edited, looked at, tried, judged by their cases, and published."""
