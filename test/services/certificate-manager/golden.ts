const instance =
  'crn:v1:bluemix:public:cloudcerts:eu-de:a/00000000000000000000000000000001:11111111-2222-3333-4444-555555555555';
const url =
  'https://cloud.ibm.com/services/cloudcerts/crn%3Av1%3Abluemix%3Apublic%3Acloudcerts%3Aeu-de%3Aa%2F00000000000000000000000000000001%3A11111111-2222-3333-4444-555555555555%3A%3A';

/**
 * Claims of a notification as Certificate Manager spelled them: members in their order, no white
 * space. Values are made up.
 */
export const reimportedV4 = `{"instance_crn":"${instance}::","certificate_manager_url":"${url}","event_type":"cert_reimported","certificates":[{"cert_crn":"${instance}:certificate:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","domains":"shop.example.test,www.shop.example.test","expires_on":1707776000000,"name":"shop"}],"version":4,"latestVersion":4}`;

/** SHA-256 of it, from `sha256sum`. */
export const reimportedV4Digest = 'ca71f9fb846e1a303657cdb56d65d08a82fca475e7fa54ad297e263f24417368';

/** The same for domain validation. */
export const domainValidationV4 = `{"instance_crn":"${instance}::","certificate_manager_url":"${url}","event_type":"cert_domain_validation_required","certificateCRN":"${instance}:certificate:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","domain_validation_method":"dns-01","domain":"shop.example.test","challenge":{"txt_record_name":"_acme-challenge","txt_record_val":"made-up-value"},"version":4,"latestVersion":4}`;

export const domainValidationV4Digest = '30d9d77b5def14fbf0288f44da921467dc1edda75453b99f2b3aafa208b43ebc';
