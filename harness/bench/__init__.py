"""What one worker reaches on this machine, beside stock Locust users on the same work (docs/bench.md)."""
