"""What schemathesis sends beside what it generates, and what it holds answers to beside the description.

$REAL names a file of requests that are in order: operation -> list of {parameters, query, body}. Each is sent once as it is. Of the further
requests of its operation every second one is such a request with one member changed, so that it comes further than what is
generated alone. The changes depend on nothing but how many requests the operation has had.

A fault of the server is 503, with a code. $ANSWERS names a file that gets a line for each answer: `real` where the request was
sent as it is, method, path, status and code. A run in which everything is refused at the door would pass every check and show
nothing, so the test looks at these.
"""

import copy
import json
import os
import random
import time

import requests
import schemathesis

with open(os.environ["REAL"]) as file:
    REAL = json.load(file)
fresh = {operation: list(requests) for operation, requests in REAL.items()}
counts = dict.fromkeys(REAL, 0)
sent_as_they_are = set()

ODD = [None, True, 0, -1, 1, 2**31, 2**32, 2**53, 2**63, 2**64, 0.5, "", "0", "\0", "\u202e", "é", "x" * 4000, [], {}, [[]], ["", ""]]


def operation_of(case):
    return f"{case.operation.method.upper()} {case.operation.path}"


@schemathesis.hook
def before_call(ctx, case, kwargs):
    operation = operation_of(case)
    if operation not in REAL or case.method.upper() != case.operation.method.upper():
        return
    counts[operation] += 1
    if fresh[operation]:
        if "/v1/backups" in operation:
            await_backup(kwargs)
        send(case, fresh[operation].pop(0))
        sent_as_they_are.add(case.id)
    elif counts[operation] % 2 == 0:
        chance = random.Random(counts[operation])
        send(case, nearly(chance, chance.choice(REAL[operation]), case.body))


def await_backup(kwargs):
    """Backups are taken and verified after the answer, and one at a time."""
    while requests.get(os.environ["SERVER"] + "/v1/backups", cert=kwargs["cert"], verify=False).json().get("running"):
        time.sleep(0.02)


def send(case, request):
    case.headers, case.query = {}, request["query"]
    if request["parameters"]:
        case.path_parameters = request["parameters"]
    if case.operation.method.upper() == "POST":
        case.body, case.media_type = request["body"], "application/json"


def nearly(chance, request, generated):
    """A request with one thing changed."""
    request = copy.deepcopy(request)
    if request["parameters"] and (not request["body"] or chance.random() < 0.2):
        name = chance.choice(sorted(request["parameters"]))
        request["parameters"][name] = str(chance.choice(["0", "2", "18446744073709551616", "x", "%00", "é", "..%2f"]))
        return request
    places = [(request, "body")]
    for parent, key in places:
        value = parent[key]
        keys = sorted(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
        places += [(value, key) for key in keys]
    parent, key = chance.choice(places)
    old = parent[key]
    kind = chance.randrange(5)
    if kind == 0 and isinstance(generated, dict) and key in generated:
        parent[key] = generated[key]
    elif kind == 1 and parent is not request:
        del parent[key]
    elif kind == 2 and isinstance(old, str) and old:
        at = chance.randrange(len(old))
        parent[key] = old[:at] + chance.choice(["", "0", "A", '"', "\\u0000"]) + old[at + 1 :]
    elif kind == 3 and isinstance(old, list):
        parent[key] = old + old
    elif kind == 3 and isinstance(old, dict):
        old["unknown"] = 1
    else:
        parent[key] = chance.choice(ODD)
    return request


@schemathesis.check
def told_faults(ctx, response, case):
    try:
        code = response.json().get("code", "-")
    except (ValueError, AttributeError):
        code = "-"
    real = "real " if case.id in sent_as_they_are else ""
    with open(os.environ["ANSWERS"], "a") as answers:
        answers.write(f"{real}{case.method.upper()} {case.operation.path} {response.status_code} {code}\n")
    if response.status_code >= 500:
        assert response.status_code == 503, f"status {response.status_code}"
        assert code != "-", "503 without a code"
