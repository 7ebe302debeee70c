"""The metrics that boards and rules may use, with their labels: what the exporter promises, and what Prometheus adds.

A board or rule that names anything else would stay empty for ever without any error.
"""

import re

IMAGE = {"registry", "repository", "tag", "platform"}
TAG = {"registry", "repository", "tag"}
RELEASE = {"registry", "repository", "target", "platform"}
REPOSITORY = {"registry", "repository"}
GROUP = {"registry", "group"}

_FAMILIES = {
    "container_image_compressed_size_bytes": IMAGE,
    "container_image_unique_size_bytes": IMAGE,
    "container_image_proportional_size_bytes": IMAGE,
    "container_image_uncompressed_size_bytes": IMAGE,
    "container_image_uncompressed_size_estimated": IMAGE,
    "container_image_unpacked_size_bytes": IMAGE,
    "container_image_wasted_size_bytes": IMAGE,
    "container_image_config_size_bytes": IMAGE,
    "container_image_manifest_size_bytes": IMAGE,
    "container_image_layers": IMAGE,
    "container_image_created_timestamp_seconds": IMAGE,
    "container_image_size_budget_bytes": IMAGE,
    "container_image_info": IMAGE | {"digest", "image_id", "media_type", "artifact_type"},
    "container_image_base_size_bytes": IMAGE,
    "container_image_base_current": IMAGE,
    "container_image_base_info": IMAGE | {"base_repository", "base_tag", "base_digest"},
    "container_image_tag_info": TAG | {"digest", "media_type"},
    "container_image_tag_stored_size_bytes": TAG,
    "container_image_tag_attestations": TAG,
    "container_image_tag_up": TAG,
    "container_image_tag_last_success_timestamp_seconds": TAG,
    "container_image_tag_changed_timestamp_seconds": TAG,
    "container_image_newest_compressed_size_bytes": RELEASE,
    "container_image_newest_previous_compressed_size_bytes": RELEASE,
    "container_image_newest_update_size_bytes": RELEASE,
    "container_image_newest_info": RELEASE | {"tag", "digest"},
    "container_image_newest_previous_info": RELEASE | {"tag", "digest"},
    "container_image_newest_largest_change_info": RELEASE | {"digest", "command"},
    "container_image_repository_stored_size_bytes": REPOSITORY,
    "container_image_repository_unique_size_bytes": REPOSITORY,
    "container_image_repository_proportional_size_bytes": REPOSITORY,
    "container_image_repository_metadata_size_bytes": REPOSITORY,
    "container_image_repository_tags": REPOSITORY,
    "container_image_repository_tags_unknown": REPOSITORY,
    "container_image_repository_labels": REPOSITORY,
    "container_image_group_stored_size_bytes": GROUP,
    "container_image_group_unique_size_bytes": GROUP,
    "container_image_group_proportional_size_bytes": GROUP,
    "container_image_repository_reclaimable_size_bytes": REPOSITORY | {"policy"},
    "container_image_repository_reclaimable_tags": REPOSITORY | {"policy"},
    "container_image_registry_stored_size_bytes": {"registry"},
    "container_image_registry_reclaimable_size_bytes": {"registry", "policy"},
    "container_image_running_containers": TAG | {"source"},
    "container_image_running_nodes": TAG | {"source"},
    "container_image_running_outdated_containers": TAG | {"source"},
    "container_image_running_info": TAG | {"source", "namespace", "workload_kind", "workload", "container"},
    "image_size_exporter_build_info": {"version"},
    "image_size_exporter_config_last_reload_successful": set(),
    "image_size_exporter_config_last_reload_success_timestamp_seconds": set(),
    "image_size_exporter_state_persistent": set(),
    "image_size_exporter_shard_ordinal": {"shard_ordinal"},
    "image_size_exporter_total_shards": set(),
    "image_size_exporter_target_up": {"target"},
    "image_size_exporter_target_last_scan_timestamp_seconds": {"target"},
    "image_size_exporter_target_last_scan_duration_seconds": {"target"},
    "image_size_exporter_target_interval_seconds": {"target"},
    "image_size_exporter_target_repositories": {"target"},
    "image_size_exporter_target_tags": {"target"},
    "image_size_exporter_source_up": {"source"},
    "image_size_exporter_source_images": {"source"},
    "image_size_exporter_source_skipped_containers": {"source"},
    "image_size_exporter_source_last_success_timestamp_seconds": {"source"},
    "image_size_exporter_registry_requests_total": {"registry", "operation"},
    "image_size_exporter_registry_request_failures_total": {"registry", "operation", "reason"},
    "image_size_exporter_registry_request_duration_seconds_bucket": {"registry", "le"},
    "image_size_exporter_registry_request_duration_seconds_sum": {"registry"},
    "image_size_exporter_registry_request_duration_seconds_count": {"registry"},
    "image_size_exporter_registry_ratelimit_limit": {"registry"},
    "image_size_exporter_registry_ratelimit_remaining": {"registry"},
    "image_size_exporter_registry_ratelimit_window_seconds": {"registry"},
    "image_size_exporter_registry_requests_per_second_limit": {"registry"},
    "image_size_exporter_registry_credential_expiry_timestamp_seconds": {"registry"},
    "image_size_exporter_series": set(),
    "image_size_exporter_store_documents": set(),
    "image_size_exporter_state_persistent": set(),
    "image_size_exporter_render_duration_seconds": set(),
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
    "process_open_fds": set(),
    "process_max_fds": set(),
    "process_start_time_seconds": set(),
    "up": set(),
    "scrape_duration_seconds": set(),
}
FAMILIES = {name: labels | {"job", "instance"} for name, labels in _FAMILIES.items()}

# Names of functions, operators and keywords that look like a metric to `names_in`.
_WORDS = set(
    """abs absent and avg bool bottomk by ceil changes clamp_max clamp_min count count_values delta end floor group group_left group_right
    histogram_quantile ignoring increase inf irate label_join label_replace last_over_time max max_over_time min
    min_over_time nan offset on or quantile rate round sort sort_desc start sum time timestamp topk unless vector
    without""".split()
)


def names_in(expr):
    """Metric names in a query. Grouping labels, selectors, strings, ranges and variables are taken out first."""
    expr = re.sub(r'"(?:[^"\\]|\\.)*"', "", expr)
    expr = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", expr)
    expr = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", "", expr)
    expr = re.sub(r"\$\w+|\$\{\w+\}", "", expr)
    expr = re.sub(r"\b\d+(\.\d+)?([eE][+-]?\d+|ms|[smhdwy])?\b", "", expr)
    return set(re.findall(r"[A-Za-z_:][A-Za-z0-9_:]*", expr)) - _WORDS


def selectors_in(expr):
    """(metric, labels in its selector) for every selector of a query."""
    found = re.findall(r"([A-Za-z_:][A-Za-z0-9_:]*)\{([^}]*)\}", expr)
    return [(name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels))) for name, labels in found]


def problems_of(expr, recorded=()):
    """What a query uses beyond the contract, as sentences."""
    found = [f"{name} is no metric" for name in sorted(names_in(expr) - set(FAMILIES) - set(recorded))]
    for name, labels in selectors_in(expr):
        if extra := labels - FAMILIES.get(name, labels):
            found.append(f"{name} has no label {', '.join(sorted(extra))}")
    return found
