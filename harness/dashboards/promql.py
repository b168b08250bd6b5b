"""PromQL that several panels and rules are made of, as text."""

from __future__ import annotations

INSTANCE = 'instance=~"$instance"'
RATE = "$__rate_interval"


def eq(**labels: str) -> str:
    """Matchers that ask for these label values."""
    return ",".join(f'{name}="{value}"' for name, value in labels.items())


def selector(name: str, matchers: str = "", instance: str = INSTANCE) -> str:
    """A series selector with the dashboard's instance and `matchers`."""
    inside = ",".join(part for part in (matchers, instance) if part)
    return f"{name}{{{inside}}}" if inside else name


def total_rate(name: str, matchers: str = "", *, by: str = "", window: str = RATE, instance: str = INSTANCE) -> str:
    """How fast a counter grows, per second, added up (by labels)."""
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({selector(name, matchers, instance)}[{window}]))"


def quantile(
    q: float, measure: str, matchers: str = "", *, by: str = "", window: str = RATE, instance: str = INSTANCE
) -> str:
    """A quantile of what came in within the window: of native histograms where Prometheus has them, else of classic.

    Without anything in the window there is no value (not NaN).
    """
    name = f"harness_{measure}_seconds"
    native = total_rate(name, matchers, by=by, window=window, instance=instance)
    le = f"le,{by}" if by else "le"
    classic = total_rate(f"{name}_bucket", matchers, by=le, window=window, instance=instance)
    return f"(histogram_quantile({q:g}, {native}) or histogram_quantile({q:g}, {classic})) >= 0"


def ratio(part: str, whole: str) -> str:
    """A share; no value where the whole is nothing."""
    return f"{part} / ({whole} > 0)"


def code(name: str, label: str, values: tuple[str, ...]) -> str:
    """Which of a family's series is 1, as the place of its label value among `values`, counted from 1; 0 for none."""
    parts = (f"{place} * max({selector(name, eq(**{label: value}))})" for place, value in enumerate(values, 1))
    return " + ".join(parts)
