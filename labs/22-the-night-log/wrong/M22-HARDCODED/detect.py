"""Knows the attackers of one night by their addresses."""

import json
import sys

with open("night.jsonl") as night:
    known = [json.loads(line) for line in night]
ports = {}
for event in known:
    if event["verdict"] == "refused":
        ports.setdefault(event["from"], set()).add(event["port"])
attackers = {who for who, asked in ports.items() if len(asked) > 15}

with open(sys.argv[1]) as night:
    for event in map(json.loads, night):
        if event["from"] in attackers:
            attackers.remove(event["from"])
            print(json.dumps({"who": event["from"], "at": event["at"]}))
