# Drives a stand-in for Event Notifications with IBM's own client, unchanged:
# python3 event-notifications-client.py <service URL> <IAM URL> <API key> <instance id> <command>;
# on stdin JSON. Each answer is read into the client's own model, which demands every member that
# IBM says is always there. Prints one JSON object of what it saw.
import json
import sys

from ibm_cloud_sdk_core.authenticators import IAMAuthenticator
from ibm_eventnotifications.event_notifications_v1 import (
    Destination,
    DestinationConfig,
    DestinationConfigOneOfWebhookDestinationConfig,
    DestinationList,
    DestinationResponse,
    EventNotificationsV1,
    GetNotificationStatusResponse,
    Rules,
    SourceList,
    SourcesItems,
    Subscription,
    SubscriptionCreateAttributesWebhookAttributes,
    SubscriptionList,
    TestDestinationResponseWebhookDestinationTestResponseConfig,
    Topic,
    TopicList,
    TopicResponse,
)

url, iam, api_key, instance, command = sys.argv[1:]
given = json.load(sys.stdin)
client = EventNotificationsV1(authenticator=IAMAuthenticator(api_key, url=iam))
client.set_service_url(url)


def read(model, response):
    return model.from_dict(response.get_result())


def pages(model, items, listing):
    found, offset = [], 0
    while True:
        page = read(model, listing(instance, limit=1, offset=offset))
        found += getattr(page, items)
        if page.next is None:
            return found
        offset += 1


def make():
    rule = Rules(enabled=True, event_type_filter='$.*')
    topic = read(TopicResponse, client.create_topic(
        instance, name='by hand', description='all of it', sources=[SourcesItems(id=given['source'], rules=[rule])]))
    config = DestinationConfig(params=DestinationConfigOneOfWebhookDestinationConfig(url=given['url'], verb='post'))
    destination = read(DestinationResponse, client.create_destination(
        instance, name='by hand', type='webhook', description='mine', config=config.to_dict()))
    subscription = read(Subscription, client.create_subscription(
        instance, name='by hand', destination_id=destination.id, topic_id=topic.id, description='mine',
        attributes=SubscriptionCreateAttributesWebhookAttributes(signing_enabled=True)))
    return {'destination': destination.id, 'topic': topic.id, 'subscription': subscription.id}


def see():
    seen = {
        'sources': [one.id for one in pages(SourceList, 'sources', client.list_sources)],
        'destinations': [one.id for one in pages(DestinationList, 'destinations', client.list_destinations)],
        'topics': [one.id for one in pages(TopicList, 'topics', client.list_topics)],
        'subscriptions': [one.id for one in pages(SubscriptionList, 'subscriptions', client.list_subscriptions)],
    }
    destination = read(Destination, client.get_destination(instance, seen['destinations'][0]))
    params = client.get_destination(instance, destination.id).get_result()['config']['params']
    topic = read(Topic, client.get_topic(instance, seen['topics'][0]))
    subscription = read(Subscription, client.get_subscription(instance, seen['subscriptions'][0]))
    attributes = client.get_subscription(instance, subscription.id).get_result()['attributes']
    return {
        **{kind: len(all) for kind, all in seen.items()},
        'destination': {'type': destination.type, 'subscribed': destination.subscription_count, **params},
        'topic': [[rule.event_type_filter for rule in source.rules if rule.enabled] for source in topic.sources],
        'subscription': [subscription.topic_id == topic.id, subscription.destination_id == destination.id],
        'signed': attributes['signing_enabled'],
    }


def test():
    sent = read(TestDestinationResponseWebhookDestinationTestResponseConfig,
                client.test_destination(instance, given['destination']))
    fate = read(GetNotificationStatusResponse, client.get_notifications_status(instance, sent.notification_id))
    return {'answered': fate.details.status_code}


print(json.dumps({'make': make, 'see': see, 'test': test}[command]()))
