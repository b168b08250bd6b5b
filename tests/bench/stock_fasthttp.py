"""The peer: the same visits as a competent user of stock Locust would write them, on FastHttpUser.

Three chained getEngagement calls a visit, ids taken from the parsed JSON of each reply; no think time. The run ends
after `BENCH_VISITS` visits.
"""

from __future__ import annotations

import itertools
import os
from typing import Any

import gevent
from locust import FastHttpUser, constant, task
from locust.exception import StopUser

VISITS = int(os.environ["BENCH_VISITS"])
BODY = {"appDetails": {"deviceFamily": "MOBILE"}, "consumerSections": ["Support"], "appType": "EXTERNAL"}
HEADERS = {"LP-URL": "https://www.example.com/", "Cache-Control": "private, max-age=0, no-cache, no-store"}
BASE = "/api/account/12345678/app/engagement/visitors"
_numbers = itertools.count(1)
_done = itertools.count(1)


class Visitor(FastHttpUser):
    """One visitor after another on a kept connection."""

    wait_time = constant(0)

    @task
    def visit(self) -> None:
        """Three calls, each with the ids of the reply before."""
        if next(_numbers) > VISITS:
            if next(_done) == self.environment.parsed_options.num_users:
                # From a greenlet of its own: `quit` kills the users and waits for them.
                gevent.spawn(self.environment.runner.quit)
            raise StopUser
        path = f"{BASE}/?v=1.0"
        for _ in range(3):
            answer: dict[str, Any] = self.client.post(path, json=BODY, headers=HEADERS, name="get_engagement").json()
            path = f"{BASE}/{answer['visitorId']}?v=1.0&sid={answer['sessionId']}"
