"""Chat robots and alerts by apprise: WeCom, DingTalk, Feishu, Slack, Telegram and a hundred others, one URL each.

apprise says only whether all went well, so a failure is ``unknown``: the message may have arrived.
"""

from __future__ import annotations

import apprise

from footfall.errors import ConfigError
from footfall.model import Letter, Receipt


class RobotChannel:
    """``ports.Channel`` by an apprise URL. Its URL holds secrets: from the environment, never logged."""

    idempotent = False

    def __init__(self, name: str, url: str) -> None:
        """ConfigError where apprise does not understand the URL (which is not repeated)."""
        self.name = name
        self._robot = apprise.Apprise()
        if not url or not self._robot.add(url):
            raise ConfigError(f"[channels.{name}] has no URL that apprise understands", "see github.com/caronc/apprise")

    def send(self, letter: Letter) -> Receipt:
        """Hand a letter over."""
        try:
            done = self._robot.notify(title=letter.subject, body=letter.text)
        except TypeError as error:
            return Receipt("dead", f"the robot takes no such letter: {error}")
        if done:
            return Receipt("sent", "taken by the robot")
        return Receipt("unknown", "the robot did not say that it was delivered")

    def close(self) -> None:
        """Nothing is kept open."""
