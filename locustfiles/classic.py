"""`locust -f locustfiles/classic.py --harness-config PROFILE.toml --headless`: the same sessions on stock FastHttpUser.

Copy this file and extend the class: `on_reply` sees every reply, and whatever else a Locust user can do, this one can.
"""

from harness.cli.classic_entry import ClassicVisitor


class Visitor(ClassicVisitor):
    """Plays the plan's visits, one after another."""
