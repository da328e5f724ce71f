# Reads certificates into the models of IBM's own client of Secrets Manager, and prints them again:
# python3 secrets-manager-models.py; on stdin a JSON list of [model, members]. A model demands every
# member that IBM says is always there, and forgets those that it does not know.
import json
import sys

from ibm_secrets_manager_sdk import secrets_manager_v2


def again(model, members):
    known = getattr(secrets_manager_v2, model).from_dict(members).to_dict()
    for name, value in known.items():
        if isinstance(value, secrets_manager_v2.datetime):
            known[name] = secrets_manager_v2.datetime_to_string(value)
    return known


print(json.dumps([again(*one) for one in json.load(sys.stdin)]))
