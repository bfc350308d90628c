"""Retain: customers and their events in; follow-ups, reminders and offers out, each beside a holdout."""
