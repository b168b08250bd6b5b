"""The calls of each account of a run, with the headers that all of them carry."""

from __future__ import annotations

import os

from harness.config.model import RunConfig
from harness.config.secrets import resolve_headers
from harness.engine.endpoint import Endpoint
from harness.engine.traceparent import TracedRenderer
from harness.visitor.calls import Calls
from harness.wire.render import CallRenderer

# What browsers say on plain http and what the reply reader decodes; brotli and zstd it does not.
_ACCEPT_ENCODING = "gzip, deflate"


class Accounts:
    """Renders for one target: the run's own account and those that its profile maps names to.

    Raises `UsageError` when an account or header cannot stand in a request.
    """

    def __init__(self, config: RunConfig, endpoint: Endpoint) -> None:
        self._config = config
        self._endpoint = endpoint
        self._calls: dict[str | None, Calls] = {}
        user_agent = config.user_agent or f"engagement-harness ({config.run_id})"
        # The user's own headers come last: they replace those of the same name in any case.
        self._headers = {"User-Agent": user_agent, "Accept-Encoding": _ACCEPT_ENCODING}
        self._headers |= resolve_headers(config.headers, os.environ)
        # At once, so that an account or header that cannot be used ends the run before it begins.
        for account in (None, *config.accounts):
            self.calls_of(account)

    def calls_of(self, account: str | None) -> Calls:
        """The calls of a trace's account name: mapped by the profile if it maps it, else the run's own account."""
        calls = self._calls.get(account)
        if calls is None:
            calls = self._calls[account] = Calls(self._renderer(self._config.account_of(account)))
        return calls

    def _renderer(self, account: str) -> CallRenderer:
        host, base_path, headers = self._endpoint.host, self._endpoint.base_path, self._headers
        if self._config.traceparent:
            seed = self._config.seed
            return TracedRenderer(seed=seed, host=host, base_path=base_path, account=account, headers=headers)
        return CallRenderer(host=host, base_path=base_path, account=account, headers=headers)
