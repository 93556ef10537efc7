"""What the Autobahn suite is told, and what it said.

report.py spec OUT CASES NAME URL [NAME URL]...   the suite's specification
report.py table OUT                               its verdicts as a table; fails if a case failed
"""

import collections
import json
import sys

GROUPS = {
    1: "Framing",
    2: "Pings and pongs",
    3: "Reserved bits",
    4: "Opcodes",
    5: "Fragmentation",
    6: "UTF-8",
    7: "Close handshake",
    9: "Large and many frames",
    10: "Fragments of any size",
}
# What the RFC leaves open, or only recommends.
PASSED = ("OK", "INFORMATIONAL", "NON-STRICT")


def spec(out, cases, *servers):
    servers = [
        {"agent": name, "url": url, "options": {"version": 18}}
        for name, url in zip(servers[::2], servers[1::2])
    ]
    json.dump(
        {
            "outdir": out,
            "servers": servers,
            "cases": cases.split(","),
            "exclude-cases": ["12.*", "13.*"],
            "exclude-agent-cases": {},
        },
        sys.stdout,
    )


def key(name):
    return [int(part) for part in name.split(".")]


def table(out):
    with open(f"{out}/index.json") as file:
        index = json.load(file)
    if not index or not all(index.values()):
        sys.exit(f"not all servers were tried: see {out}/log")
    failed = []
    print("| Server | Cases | Number | OK | Non-strict | Informational | Failed |")
    print("|---|---|---|---|---|---|---|")
    for agent, cases in sorted(index.items()):
        groups = collections.defaultdict(collections.Counter)
        for name, case in cases.items():
            verdict = case["behavior"]
            # The end may be unclean where the suite itself cuts the connection off.
            if verdict not in PASSED or case["behaviorClose"] not in ("OK", "INFORMATIONAL"):
                failed.append((key(name), f"{agent} {name}: {verdict}, close {case['behaviorClose']}"))
                verdict = "FAILED"
            groups[key(name)[0]][verdict] += 1
        for group, counts in sorted(groups.items()) + [("", sum(groups.values(), collections.Counter()))]:
            title = f"{group} {GROUPS[group]}" if group else "**all**"
            row = [counts.total(), *(counts[it] for it in ("OK", "NON-STRICT", "INFORMATIONAL"))]
            print(f"| {agent} | {title} | {' | '.join(map(str, row))} | {counts['FAILED']} |")
    for _, line in sorted(failed):
        print(line, file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    {"spec": spec, "table": table}[sys.argv[1]](*sys.argv[2:])
