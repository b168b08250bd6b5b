"""Prometheus's HTTP API, as far as checking and drawing need it: range queries."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request

import msgspec

from harness.errors import UsageError

_TIMEOUT_S = 60


class Series(msgspec.Struct, frozen=True):
    """A series of an answer: its labels, and (Unix time, value) points."""

    labels: dict[str, str]
    points: list[tuple[float, float]]

    def named(self, legend: str) -> str:
        """The legend with this series' label values in it."""
        for name, value in self.labels.items():
            legend = legend.replace("{{" + name + "}}", value)
        return legend


class PrometheusApi:
    """The API at `url`. Every method raises `UsageError` when it cannot be reached or refuses the query."""

    def __init__(self, url: str) -> None:
        """`url` such as http://127.0.0.1:9090."""
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"'{url}' is no URL of a Prometheus: write http://HOST:PORT")
        self._url = url.rstrip("/")

    def range(self, expr: str, start_s: float, end_s: float, step_s: float) -> list[Series]:
        """The series of `expr` from `start_s` to `end_s` (Unix time), every `step_s` seconds."""
        fields = {"query": expr, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s}"}
        body = urllib.parse.urlencode(fields).encode()
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/query_range", body, _TIMEOUT_S) as reply:
                answer = json.load(reply)
        except urllib.error.HTTPError as error:
            raise UsageError(f"Prometheus at {self._url} refuses a query: {_reason(error)}; it was: {expr}") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise UsageError(f"no Prometheus answers at {self._url}: {reason}; name it with --prometheus") from error
        return [
            Series(each["metric"], [(float(at), float(value)) for at, value in each["values"]])
            for each in answer["data"]["result"]
        ]


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (ValueError, KeyError):
        return f"HTTP {error.code}"
