"""Reads pods with the Kubernetes project's own Python client: all of them by pages of two, then what a watch tells until a
pod named `last-1` is there. Writes both as JSON.

    pods.py KUBECONFIG
"""

import json
import sys

from kubernetes import client, config, watch

config.load_kube_config(config_file=sys.argv[1])
core = client.CoreV1Api()


def image(pod):
    return [pod.metadata.name, pod.spec.containers[0].image, pod.status.container_statuses[0].image_id]


listed, after = [], None
while True:
    page = core.list_pod_for_all_namespaces(limit=2, _continue=after)
    listed += [image(pod) for pod in page.items]
    after = page.metadata._continue
    if not after:
        break
# From the list on, this says.
print("listed", flush=True)
watched = []
events = watch.Watch().stream(
    core.list_pod_for_all_namespaces,
    resource_version=page.metadata.resource_version,
    allow_watch_bookmarks=True,
    timeout_seconds=60,
)
for event in events:
    if event["type"] == "BOOKMARK":
        continue
    watched.append([event["type"], *image(event["object"])])
    if event["object"].metadata.name == "last-1":
        break
try:
    core.list_namespaced_pod("secret")
except client.ApiException as error:
    refused = error.status
json.dump({"listed": listed, "watched": watched, "refused": refused}, sys.stdout)
