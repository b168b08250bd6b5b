"""The bench's peers: the same visits as a competent user of stock Locust writes them, on both of its HTTP clients.

Three chained getEngagement calls a visit, ids taken from the parsed JSON of each reply, no think time, one kept
connection a user. All users begin together once the last has been spawned; the run ends after `BENCH_VISITS` visits.
`locust -f locustfiles/stock.py StockFastHttpUser` or `StockHttpUser`; `harness bench` runs both.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

import gevent
from gevent.event import Event
from locust import FastHttpUser, HttpUser, constant, events
from locust.exception import StopUser

VISITS = int(os.environ.get("BENCH_VISITS", "1000"))
BODY = {"appDetails": {"deviceFamily": "MOBILE"}, "consumerSections": ["Support"], "appType": "EXTERNAL"}
HEADERS = {"LP-URL": "https://www.example.com/", "Cache-Control": "private, max-age=0, no-cache, no-store"}
BASE = "/api/account/12345678/app/engagement/visitors"

_numbers = itertools.count()
_ended = itertools.count(1)
_everybody = Event()


@events.spawning_complete.add_listener
def _on_spawning_complete(**_: Any) -> None:
    _everybody.set()


def visit(user: Any) -> None:
    """Three calls, each with the ids of the reply before."""
    if not user.left:
        if next(_ended) == user.environment.parsed_options.num_users:
            # From a greenlet of its own: `quit` kills the users and waits for them.
            gevent.spawn(user.environment.runner.quit)
        raise StopUser
    user.left -= 1
    path = f"{BASE}/?v=1.0"
    for _ in range(3):
        answer = user.client.post(path, json=BODY, headers=HEADERS, name="get_engagement").json()
        path = f"{BASE}/{answer['visitorId']}?v=1.0&sid={answer['sessionId']}"


def _take_share(user: Any) -> None:
    """Takes this user's share of the visits and waits for the others."""
    share, rest = divmod(VISITS, user.environment.parsed_options.num_users)
    user.left = share + (next(_numbers) < rest)
    _everybody.wait()


class StockFastHttpUser(FastHttpUser):
    """The visits on geventhttpclient."""

    wait_time = constant(0)
    tasks = [visit]  # noqa: RUF012 - as Locust has it
    on_start = _take_share


class StockHttpUser(HttpUser):
    """The visits on requests."""

    wait_time = constant(0)
    tasks = [visit]  # noqa: RUF012
    on_start = _take_share
