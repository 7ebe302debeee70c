"""Reads an exposition from stdin with the Prometheus project's own Python parsers and writes its samples as JSON.

    parsers.py openmetrics|text <BODY
"""

import json
import sys

from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client import parser as text

body = sys.stdin.buffer.read().decode()
families = {"openmetrics": openmetrics, "text": text}[sys.argv[1]].text_string_to_metric_families(body)
# Values are text: not every reader of JSON gives back the last bit of a number, and none takes an infinite one.
samples = [
    {"name": sample.name, "labels": sample.labels, "value": repr(float(sample.value))}
    for family in families
    for sample in family.samples
]
json.dump(samples, sys.stdout)
