"""Switchboard: a customer-service chatbot framework. Start reading at `bot/agent.py`."""
