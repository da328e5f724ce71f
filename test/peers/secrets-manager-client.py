# Drives an instance of our own over Secrets Manager's API with IBM's own client, unchanged:
# python3 secrets-manager-client.py <service URL> <IAM URL> <API key>; on stdin JSON with two
# certificates {certificate, intermediate, private_key}. Prints one JSON object of what it saw.
import json
import sys

from ibm_cloud_sdk_core import ApiException
from ibm_cloud_sdk_core.authenticators import IAMAuthenticator
from ibm_secrets_manager_sdk.secrets_manager_v2 import (
    ImportedCertificateMetadataPatch,
    ImportedCertificatePrototype,
    ImportedCertificateVersionPrototype,
    SecretGroupPatch,
    SecretLockPrototype,
    SecretsManagerV2,
    SecretsPager,
)

url, iam, api_key = sys.argv[1:]
first, second = json.load(sys.stdin)
client = SecretsManagerV2(authenticator=IAMAuthenticator(api_key, url=iam))
client.set_service_url(url)
seen = {}


def refused(call):
    try:
        call()
    except ApiException as error:
        return {'status': error.status_code, 'message': error.message}
    return None


def create(name, group='default', labels=(), **given):
    prototype = ImportedCertificatePrototype(
        secret_type='imported_cert', name=name, secret_group_id=group, labels=list(labels),
        **first, **given)
    return client.create_secret(secret_prototype=prototype).get_result()


group = client.create_secret_group(name='standby', description='copies').get_result()
seen['groups'] = [g['name'] for g in client.list_secret_groups().get_result()['secret_groups']]
patched = client.update_secret_group(
    id=group['id'], secret_group_patch=SecretGroupPatch(description='all copies').to_dict()).get_result()
seen['group'] = client.get_secret_group(id=group['id']).get_result() == patched

made = create('my.shop', group['id'], ['one label', 'certstandby-abc'], description='the shop',
              custom_metadata={'certstandby': {'mark': 'm'}, 'other': 1})
seen['made'] = {k: made[k] for k in ('name', 'secret_group_id', 'state', 'custom_metadata', 'labels')}
seen['duplicate'] = refused(lambda: create('my.shop'))
seen['badName'] = refused(lambda: create('-x'))
for n in range(4):
    create('page-%d' % n, labels=['paged'])

pager = SecretsPager(client=client, limit=2, sort='created_at')
seen['paged'] = [s['name'] for s in pager.get_all()]
pager = SecretsPager(client=client, limit=3, match_all_labels=['one label', 'certstandby-abc'],
                     secret_types=['imported_cert'], groups=[group['id']], search='shop')
seen['filtered'] = [s['id'] == made['id'] for s in pager.get_all()]

read = client.get_secret(id=made['id']).get_result()
seen['same'] = all(read[k] == first[k] for k in first)
named = client.get_secret_by_name_type(
    secret_type='imported_cert', name='my.shop', secret_group_name='standby').get_result()
seen['byName'] = named['id'] == made['id']

version = client.create_secret_version(
    secret_id=made['id'],
    secret_version_prototype=ImportedCertificateVersionPrototype(**second)).get_result()
versions = client.list_secret_versions(secret_id=made['id']).get_result()
seen['versions'] = [v['alias'] for v in versions['versions']]
previous = client.get_secret_version(secret_id=made['id'], id='previous').get_result()
current = client.get_secret_version(secret_id=made['id'], id='current').get_result()
seen['previous'] = previous['certificate'] == first['certificate']
seen['current'] = [current['certificate'] == second['certificate'], current['id'] == version['id']]

patch = ImportedCertificateMetadataPatch(
    name='my.other.shop', labels=['changed'], custom_metadata={'certstandby': None}).to_dict()
seen['patched'] = client.update_secret_metadata(id=made['id'], secret_metadata_patch=patch).get_result()['custom_metadata']
seen['metadata'] = client.get_secret_metadata(id=made['id']).get_result()['name']

lock = [SecretLockPrototype(name='in-use', description='by the ingress', attributes={'cluster': 'one'})]
client.create_secret_locks_bulk(id=made['id'], locks=lock)
seen['locks'] = [l['name'] for l in client.list_secret_locks(id=made['id']).get_result()['locks']]
seen['lockedDelete'] = refused(lambda: client.delete_secret(id=made['id']))
client.create_secret_version(
    secret_id=made['id'], secret_version_prototype=ImportedCertificateVersionPrototype(**first))
seen['movedLock'] = [
    l['secret_version_alias'] for l in client.list_secret_locks(id=made['id']).get_result()['locks']]
seen['lockedRotation'] = refused(lambda: client.create_secret_version(
    secret_id=made['id'], secret_version_prototype=ImportedCertificateVersionPrototype(**second)))
seen['allLocks'] = len(client.list_secrets_locks().get_result()['secrets_locks'])
client.delete_secret_version_locks_bulk(secret_id=made['id'], id='previous', name=['in-use'])
client.delete_secret_version_data(secret_id=made['id'], id='previous')
seen['left'] = [v['alias'] for v in client.list_secret_versions(secret_id=made['id']).get_result()['versions']]

seen['fullGroup'] = refused(lambda: client.delete_secret_group(id=group['id']))['status']
client.delete_secret(id=made['id'])
seen['gone'] = refused(lambda: client.get_secret(id=made['id']))
client.delete_secret_group(id=group['id'])
seen['deletedAgain'] = refused(lambda: client.delete_secret(id=made['id']))['status']
print(json.dumps(seen))
