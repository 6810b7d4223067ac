"""Reads a log, and prints an alarm for each attacker: by behaviour, never by address."""

import collections
import json
import sys

with open(sys.argv[1]) as night:
    events = [json.loads(line) for line in night]


def watch(group, wanted, measure, window, threshold, quiet_after_success=False):
    recent = collections.defaultdict(collections.deque)
    success = collections.defaultdict(collections.deque)
    told = set()
    for event in events:
        who, at = event[group], event["at"]
        for seen in (recent[who], success[who]):
            while seen and seen[0]["at"] < at - window:
                seen.popleft()
        if event["verdict"] == "served":
            success[who].append(event)
        if event["verdict"] != wanted:
            continue
        recent[who].append(event)
        if quiet_after_success and success[who]:
            continue
        if who not in told and measure(recent[who]) >= threshold:
            told.add(who)
            print(json.dumps({"who": who, "at": at}))


watch("from", "refused", lambda seen: len({event["port"] for event in seen}), 600, 15)
watch("from", "refused", len, 600, 25, True)
watch("from", "refused", len, 14400, 20, True)
watch("name", "served", lambda seen: sum(event["bytes_out"] for event in seen), 3600, 500_000_000)
