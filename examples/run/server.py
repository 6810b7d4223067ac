#!/usr/bin/env python3
"""A service in Python: greets its callers by name. Messages come as lines, see config/run.toml."""
import os
import sys

caller = os.environ["DOORWARD_NAME"]
for line in sys.stdin:
    said = line.rstrip("\n")
    if said == "bye":
        print("bye", flush=True)
        break
    # Without flush, Python keeps answers back until it has many.
    print(f"{caller} says {said}", flush=True)
# What goes to standard error is a line in doorward's log.
print(f"session {os.environ['DOORWARD_SESSION']} is over", file=sys.stderr)
