"""`locust -f locustfiles/engagement.py --harness-config PROFILE.toml`: the harness under plain Locust."""

from harness.cli.locust_entry import EngagementUser, RunShape

__all__ = ["EngagementUser", "RunShape"]
