"""Reads a log, and prints an alarm for each attacker."""

import json
import sys

with open(sys.argv[1]) as night:
    events = [json.loads(line) for line in night]

for event in events:
    if event["from"] == "10.66.3.7":
        print(json.dumps({"who": event["from"], "at": event["at"]}))
        break
