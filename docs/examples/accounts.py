"""A connector for Countersign that keeps accounts in a JSON file.

It is the worked example of docs/connectors.md: replace `read_file` and
`write_file` by what reaches your system, and keep the rest. Run it as
`python3 accounts.py ACCOUNTS.json`, with the question on standard input.
"""

import fcntl
import json
import os
import sys
import time
from datetime import datetime

STARTED = time.time()
MARK = "countersign"  # what we made carries it; what does not is never touched
RIGHTS = {"reader", "auditor"}
ACTION = "open-account"


class Refusal(Exception):
    """An answer that is not success: the word, the sentence, and what else."""

    def __init__(self, answer, message, **more):
        super().__init__(message)
        self.answer = {"answer": answer, "message": message, **more}


def moment(text):
    """Seconds since 1970 of an RFC 3339 time, None for ""."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() if text else None


def now(question):
    """The desk's time: this machine's clock may be off, and the desk's counts."""
    return moment(question["asked_at"]) + time.time() - STARTED


def same(account, task):
    """By ids, never by a display name."""
    return account.get("made_by") == MARK and all(account.get(name) == value for name, value in wanted(task).items())


def wanted(task):
    return {
        "grant": task["grant"],
        "holder": task["holder"]["id"],
        "system": task["system"]["name"],
        "resource": task["resource"],
        "entitlement": task["entitlement"]["name"],
    }


def check(task):
    """Refuses what could not be done exactly."""
    if task["settings"]:
        raise Refusal("rejected", "this connector has no settings; take them out of the system")
    if task["entitlement"]["name"] not in RIGHTS:
        raise Refusal("rejected", "an account can be one of " + ", ".join(sorted(RIGHTS)))


def check_deadline(question):
    deadline = moment(question["task"]["deadline"])
    if deadline is not None and now(question) >= deadline:
        raise Refusal("transient", "the deadline of the operation has passed; nothing was written")


def describe(question, book):
    return {
        "answer": "description",
        "actions": [ACTION],
        "kind": "role",
        "rotates": True,
        "extends": True,
        "enforces_expiry_itself": True,  # whoever reads the file compares "until"
        "ends_sessions": True,  # and reads it at each use
        "expiry_granularity": 1,
        "idempotent_revoke": True,
        "tells_last_use": True,
        "tells_inventory": True,
    }


def plan(question, book):
    task = question["task"]
    check(task)
    return {"answer": "plan", "effect": f"an account in the file, with the right {task['entitlement']['name']}"}


def apply(question, book):
    task = question["task"]
    check(task)
    name = task["credential"]
    if name in book["removed"]:
        raise Refusal("rejected", f"{name} was revoked and is never given again")
    there = book["accounts"].get(name)
    if there is not None:
        if not same(there, task):
            raise Refusal("rejected", f"there is an account {name} that this connector did not make so")
        late = there["intent"] == task["intent"] and there["attempt"] >= task["attempt"]
        if late or there["until"] == task["until"]:
            return {"answer": "done"}  # it is there already
    book["accounts"][name] = {
        **wanted(task),
        "made_by": MARK,
        "until": task["until"],
        "intent": task["intent"],
        "attempt": task["attempt"],
        "version": (there or {"version": 0})["version"] + 1,
    }
    check_deadline(question)
    write_file(book)
    return {"answer": "done"}


def revoke(question, book):
    name = question["task"]["credential"]
    there = book["accounts"].get(name)
    if there is not None and there.get("made_by") != MARK:
        raise Refusal("rejected", f"the account {name} was not made by this connector, so it does not remove it")
    if there is None and name in book["removed"]:
        return {"answer": "done"}  # it is gone already
    book["accounts"].pop(name, None)
    book["removed"][name] = question["asked_at"]
    check_deadline(question)
    write_file(book)
    return {"answer": "done"}


def read(question, book):
    """Says what is there; whether that is what was asked, the desk judges."""
    name = question["task"]["credential"]
    account = book["accounts"].get(name)
    if account is None:
        return {"answer": "reading", "present": False, "how": f"the file has no account {name}"}
    until = moment(account["until"])
    if until is not None and now(question) >= until:
        return {"answer": "reading", "present": False, "how": f"the account {name} in the file ended at {account['until']}"}
    return {
        "answer": "reading",
        "present": True,
        "how": f"the account {name} in the file, as it stands there",
        "reference": f"account {name}",
        "until": account["until"],
        "holder": account["holder"],
        "system": account["system"],
        "resource": account["resource"],
        "entitlement": account["entitlement"],
    }


def last_used(question, book):
    account = book["accounts"].get(question["task"]["credential"], {})
    return {"answer": "last-used", "at": account.get("last_used", "")}


PAGE = 500


def inventory(question, book):
    """Everything in the file, made by us or not, a page at a time."""
    scope = question["scope"]
    names = sorted(name for name in book["accounts"] if name > scope["after"])
    items = []
    for name in names[:PAGE]:
        account = book["accounts"][name]
        until = moment(account["until"])
        if account["system"] != scope["system"]["name"] or until is not None and now(question) >= until:
            continue
        item = {
            "principal": name,
            "holder": account["holder"],
            "resource": account["resource"],
            "entitlement": account["entitlement"],
            "until": account["until"],
            "last_used": account.get("last_used", ""),
        }
        if account.get("made_by") == MARK:
            item["credential"] = name
        items.append(item)
    return {"answer": "inventory", "items": items, "next": names[PAGE - 1] if len(names) > PAGE else ""}


OPERATIONS = {
    "describe": describe,
    "plan": plan,
    "apply": apply,
    "verify": read,
    "revoke": revoke,
    "verify-gone": read,
    "last-used": last_used,
    "inventory": inventory,
}


def read_file():
    try:
        with open(sys.argv[1], encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {"accounts": {}, "removed": {}}


def write_file(book):
    """All of it or nothing, also when this process is killed meanwhile."""
    beside = sys.argv[1] + ".new"
    with open(beside, "w", encoding="utf-8") as file:
        json.dump(book, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, sys.argv[1])


def main():
    question = json.load(sys.stdin)
    try:
        if question["protocol"] != 1 or question["operation"] not in OPERATIONS:
            raise Refusal("rejected", "this connector does not know that protocol or operation")
        # One process at a time: questions may come twice, and at once.
        with open(sys.argv[1] + ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            answer = OPERATIONS[question["operation"]](question, read_file())
    except Refusal as refusal:
        answer = refusal.answer
    json.dump({"protocol": 1, **answer}, sys.stdout)


if __name__ == "__main__":
    main()
