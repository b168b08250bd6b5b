"""The Universal Scalability Law (Gunther 1993): how throughput follows concurrency, and where it turns.

    X(N) = lambda N / (1 + sigma (N - 1) + kappa N (N - 1))

lambda is the throughput of one, sigma the share that waits for what is shared, kappa the cost of agreeing. N / X is
linear in (1/lambda, sigma/lambda, kappa/lambda), so the best fit under sigma, kappa >= 0 is found exactly: the optimum
of a non-negative least-squares problem is the plain optimum over those coefficients that are not zero, and there are
four choices. Errors are relative, or the busiest points alone would decide. Unbounded fits give negative coefficients
on real data, which mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import msgspec

MIN_POINTS = 3


class Usl(msgspec.Struct, frozen=True):
    """A fitted law: `lambda_hz` in 1/s, `sigma` 0 to 1, `kappa` 0 or more; `reach` is the highest concurrency seen."""

    lambda_hz: float
    sigma: float
    kappa: float
    reach: float

    def throughput_hz(self, concurrency: float) -> float:
        """X(N) for `concurrency` N above 0."""
        n = concurrency
        return self.lambda_hz * n / (1 + self.sigma * (n - 1) + self.kappa * n * (n - 1))

    @property
    def knee(self) -> float | None:
        """The concurrency beyond which throughput falls; None where the data do not reach it: it would be a guess."""
        if self.kappa <= 0:
            return None
        knee = sqrt((1 - self.sigma) / self.kappa)
        return knee if knee <= self.reach else None


def fit_usl(points: Sequence[tuple[float, float]]) -> Usl | None:
    """The law through (concurrency, throughput in 1/s) points, both above 0.

    None with fewer than `MIN_POINTS` different concurrencies, or where no law with 0 <= sigma <= 1 fits.
    """
    if len({n for n, _ in points}) < MIN_POINTS:
        return None
    rows = [(1.0, n - 1, n * (n - 1)) for n, _ in points]
    wanted = [n / x for n, x in points]
    best: tuple[float, list[float]] | None = None
    for chosen in ((0,), (0, 1), (0, 2), (0, 1, 2)):
        coefficients = _least_squares(rows, wanted, chosen)
        if coefficients is None or coefficients[0] <= 0 or min(coefficients) < 0:
            continue
        error = sum((_dot(coefficients, row) / y - 1) ** 2 for row, y in zip(rows, wanted, strict=True))
        if best is None or error < best[0] - 1e-12:
            best = error, coefficients
    if best is None:
        return None
    base, waiting, agreeing = best[1]
    if waiting > base:
        return None
    return Usl(lambda_hz=1 / base, sigma=waiting / base, kappa=agreeing / base, reach=max(n for n, _ in points))


def _dot(left: Sequence[float], right: Sequence[float]) -> float:
    return sum(a * b for a, b in zip(left, right, strict=True))


def _least_squares(
    rows: Sequence[tuple[float, float, float]], wanted: Sequence[float], chosen: Sequence[int]
) -> list[float] | None:
    """Coefficients (0 where not chosen) that minimise the squared relative errors; None when undetermined."""
    scaled = [[row[at] / y for at in chosen] for row, y in zip(rows, wanted, strict=True)]
    size = len(chosen)
    table = [
        [sum(row[i] * row[j] for row in scaled) for j in range(size)] + [sum(row[i] for row in scaled)]
        for i in range(size)
    ]
    for at in range(size):
        pivot = max(range(at, size), key=lambda line: abs(table[line][at]))
        table[at], table[pivot] = table[pivot], table[at]
        if abs(table[at][at]) < 1e-300:
            return None
        for line in range(size):
            if line != at:
                factor = table[line][at] / table[at][at]
                table[line] = [a - factor * b for a, b in zip(table[line], table[at], strict=True)]
    coefficients = [0.0, 0.0, 0.0]
    for at, column in enumerate(chosen):
        coefficients[column] = table[at][size] / table[at][at]
    return coefficients
