"""A clock by which pages expire: a test sets it instead of waiting."""

import time

from trackstar_frames.http.session import Session


class Clock:
    """Runs like the machine's, `ahead` seconds ahead of it."""

    def __init__(self):
        self.ahead = 0.0

    def __call__(self):
        return time.time() + self.ahead

    def set_for(self, client):
        """Let a client's pages expire by this clock."""
        client.session = Session(client.settings, client.session._credentials, self)
        return client
