"""Asking DNS again while a run goes on, in a greenlet of its own: gevent resolves in a thread, off the loop.

The engine only ever sees the addresses that the guard has allowed. An answer that it refuses ends the run: a name that
begins to lead elsewhere must not take the load along.
"""

from __future__ import annotations

from collections.abc import Callable

import gevent

from harness.config.model import RunConfig
from harness.engine.endpoint import Endpoint, find_addresses, is_named
from harness.errors import HarnessError, UnreachableError

# Services move within a minute or so of their records' usual lifetimes; asking more often would load the resolver.
EVERY_S = 30.0


class Renewal:
    """Renews the endpoint's addresses every `EVERY_S` until stopped; a target without a name needs none.

    `on_refused` gets the error when what DNS says now must not be used: that is not adopted, and nothing is asked any
    more.
    """

    def __init__(self, config: RunConfig, endpoint: Endpoint, on_refused: Callable[[HarnessError], None]) -> None:
        self._config = config
        self._endpoint = endpoint
        self._on_refused = on_refused
        self._greenlet = gevent.spawn(self._run) if is_named(config) else None

    def stop(self) -> None:
        """Asks no more."""
        if self._greenlet is not None:
            self._greenlet.kill(block=False)

    def _run(self) -> None:
        while True:
            gevent.sleep(EVERY_S)
            try:
                self._endpoint.renew(find_addresses(self._config, self._endpoint.sources))
            except UnreachableError:
                # DNS does not answer just now. What it last said still stands, as in a browser's own cache.
                continue
            except HarnessError as error:
                self._on_refused(error)
                return
