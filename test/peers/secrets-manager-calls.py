# Makes calls with IBM's own client of Secrets Manager, unchanged:
# python3 secrets-manager-calls.py <service URL> <API key>; on stdin a JSON list of [method,
# arguments]. Prints a JSON list of the answers.
import json
import sys

from ibm_cloud_sdk_core.authenticators import IAMAuthenticator
from ibm_secrets_manager_sdk.secrets_manager_v2 import SecretsManagerV2

url, api_key = sys.argv[1:]
client = SecretsManagerV2(authenticator=IAMAuthenticator(api_key, url=url))
client.set_service_url(url)
print(json.dumps([getattr(client, method)(**given).get_result() for method, given in json.load(sys.stdin)]))
