"""What schemathesis holds answers to, beside the description: a fault of the server is 503, with a code.

$ANSWERS names a file that gets a line for each answer: method, path, status and code. A run in which everything is
refused at the door would pass every check and show nothing, so the test looks at these.
"""

import os

import schemathesis


@schemathesis.check
def told_faults(ctx, response, case):
    try:
        code = response.json().get("code", "-")
    except (ValueError, AttributeError):
        code = "-"
    with open(os.environ["ANSWERS"], "a") as answers:
        answers.write(f"{case.operation.method.upper()} {case.operation.path} {response.status_code} {code}\n")
    if response.status_code >= 500:
        assert response.status_code == 503, f"status {response.status_code}"
        assert code != "-", "503 without a code"
