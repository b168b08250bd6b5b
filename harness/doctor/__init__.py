"""Is this machine fit to generate load, and at which rate? (docs/cli.md, `harness doctor`)"""
