"""Channels: a message in; a receipt out. One adapter for each way to reach a person."""
