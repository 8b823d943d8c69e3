"""Blobs whose user dies in the middle of its work."""

import os
import signal


class Killed(BaseException):
    """As final as a kill for whoever cleans nothing up, and much cheaper to try."""


def die():
    raise Killed


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


class DyingBlobs:
    """The same blobs, until `death` is called before one more than `changes` blobs change."""

    def __init__(self, blobs, changes, death=die):
        self._blobs, self._changes, self._death = blobs, changes, death

    def __getattr__(self, name):
        return getattr(self._blobs, name)

    def write(self, blobs):
        for blob in blobs:
            self._changing().write([blob])

    def replace(self, *arguments):
        return self._changing().replace(*arguments)

    def create(self, *arguments):
        return self._changing().create(*arguments)

    def create_many(self, blobs):
        return {name for name, content in blobs if self.create(name, content)}

    def delete(self, names):
        for name in names:
            self._changing().delete([name])

    def _changing(self):
        self._changes -= 1
        if self._changes < 0:
            self._death()
        return self._blobs
