"""Channels: a letter in; a receipt out. One adapter for each way to reach a person.

smtp      e-mail, with one-click unsubscribe
webhook   a signed POST, told apart from its twin by the message id
robots    chat robots (WeCom, DingTalk, Feishu, Slack ...) by apprise
files     one file a letter, for everything else
"""
