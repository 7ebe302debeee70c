#!/usr/bin/env python3
"""The Helm chart and the plain manifests: rendered, and held against the Kubernetes schemas. Exits 1 on a problem."""

import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import helm_python as helm
import kubernetes_validate
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/image-size-exporter"
PLAIN = ROOT / "deploy/kubernetes"
VERSIONS = ["1.25", "1.30", kubernetes_validate.latest_version()]
# Resources of the Prometheus operator have no schema here; what matters of them is checked below.
WATCH_PODS = {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]}
GET_SECRETS = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}
OPERATOR = "monitoring.coreos.com/v1"


def check_copies():
    for source, copy in [
        *((ROOT / f"grafana/{name}.json", CHART / f"files/dashboards/{name}.json") for name in ("overview", "image", "running", "cost", "exporter")),
        (ROOT / "deploy/prometheus/rules.yml", CHART / "files/rules.yml"),
    ]:
        assert source.read_bytes() == copy.read_bytes(), f"{copy} differs from {source}: run deploy/helm/sync"
    assert len(list((CHART / "files").rglob("*.*"))) == 6, "a file in the chart that deploy/helm/sync does not write"


def render(chart, values):
    chart.validate_schema(values)
    documents = []
    for path, text in chart.render(values, name="demo", namespace="prod").items():
        if not path.endswith(".txt"):
            documents += [document for document in yaml.safe_load_all(text) if document]
    return documents


def validate(documents, secrets=False):
    names = [(document["kind"], document["metadata"].get("namespace"), document["metadata"]["name"]) for document in documents]
    assert len(names) == len(set(names)), "two resources of one name"
    for document in documents:
        if document["apiVersion"] == OPERATOR:
            continue
        for version in VERSIONS:
            kubernetes_validate.validate(document, version, strict=True)
    check_pods(documents, secrets)


def one(documents, kind):
    found = [document for document in documents if document["kind"] == kind]
    assert len(found) == 1, f"{len(found)} of kind {kind}"
    return found[0]


def shard_services(documents):
    return [d for d in documents if d["kind"] == "Service" and d["metadata"]["labels"]["app.kubernetes.io/name"].endswith("-shard")]


def check_pods(documents, secrets):
    """What the API server does not tell: references that lead nowhere, and a pod that is less than restricted."""
    documents = [document for document in documents if document not in shard_services(documents)]
    stateful = one(documents, "StatefulSet")["spec"]
    template = stateful["template"]
    labels, pod = template["metadata"]["labels"], template["spec"]
    selectors = [stateful["selector"]["matchLabels"], one(documents, "Service")["spec"]["selector"]]
    selectors += [d["spec"]["podSelector"]["matchLabels"] for d in documents if d["kind"] == "NetworkPolicy"]
    selectors += [d["spec"]["selector"]["matchLabels"] for d in documents if d["kind"] == "PodDisruptionBudget"]
    for selector in selectors:
        assert selector.items() <= labels.items(), f"{selector} selects no pod"
    assert stateful["serviceName"] == one(documents, "Service")["metadata"]["name"]

    (container,) = pod["containers"]
    ports = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in one(documents, "Service")["spec"]["ports"]} <= ports, "a service for no port"
    volumes = {volume["name"] for volume in pod["volumes"]}
    claims = {claim["metadata"]["name"] for claim in stateful.get("volumeClaimTemplates", [])}
    assert not volumes & claims, "a volume twice"
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert set(mounts) == volumes | claims, f"mounts {sorted(mounts)}, volumes {sorted(volumes | claims)}"
    assert f"--config.file={mounts['config']}" in container["args"]
    own = {(d["kind"], d["metadata"]["name"]) for d in documents}
    for volume in pod["volumes"]:
        if volume["name"] == "config":
            name = volume.get("configMap", {}).get("name") or volume["secret"]["secretName"]
            assert {("ConfigMap", name), ("Secret", name)} & own or name == "existing", f"no configuration {name}"

    # The token is there for a role, and for nothing else.
    roles = [d for d in documents if d["kind"] in ("Role", "ClusterRole")]
    assert pod["automountServiceAccountToken"] is bool(roles) and pod["enableServiceLinks"] is False
    check_roles(documents, roles, pod["serviceAccountName"], secrets)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    secure = container["securityContext"]
    assert secure["readOnlyRootFilesystem"] is True and secure["allowPrivilegeEscalation"] is False
    assert secure["capabilities"] == {"drop": ["ALL"]}


def check_roles(documents, roles, account, secrets):
    """What runs is seen with two verbs on one resource, secrets only where they are asked for, and each role is bound to the pod's account where it is."""
    namespace = one(documents, "StatefulSet")["metadata"]["namespace"]
    bindings = {
        (d["kind"].removesuffix("Binding"), d["metadata"].get("namespace"), d["roleRef"]["name"]): d
        for d in documents
        if d["kind"] in ("RoleBinding", "ClusterRoleBinding")
    }
    assert len(bindings) == len(roles)
    for role in roles:
        assert role["rules"] == [WATCH_PODS, GET_SECRETS][: 1 + secrets], role["rules"]
        binding = bindings[role["kind"], role["metadata"].get("namespace"), role["metadata"]["name"]]
        assert binding["roleRef"]["kind"] == role["kind"]
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": account, "namespace": namespace}]


def check_default(chart):
    documents = render(chart, yaml.safe_load((CHART / "ci/default-values.yaml").read_text()))
    validate(documents)
    kinds = sorted(document["kind"] for document in documents)
    assert kinds == ["ConfigMap", "Service", "ServiceAccount", "StatefulSet"], kinds
    check_claim(documents)


def check_claim(documents):
    """A mode that every storage has and every cluster of `kubeVersion` knows: ReadWriteOncePod came with 1.27."""
    (claim,) = one(documents, "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"], claim["spec"]["accessModes"]


def check_full(chart):
    documents = render(chart, yaml.safe_load((CHART / "ci/full-values.yaml").read_text()))
    validate(documents, secrets=True)
    (claim,) = one(documents, "StatefulSet")["spec"]["volumeClaimTemplates"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]

    roles = [(d["kind"], d["metadata"]["namespace"]) for d in documents if d["kind"].endswith("Role")]
    assert roles == [("Role", "payments"), ("Role", "web")], roles

    monitor = one(documents, "ServiceMonitor")
    service = one(documents, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]
    assert monitor["spec"]["sampleLimit"] == 200000

    boards = [d for d in documents if d["metadata"].get("labels", {}).get("grafana_dashboard") == "1"]
    for board in boards:
        ((name, text),) = board["data"].items()
        assert json.loads(text) == json.loads((ROOT / "grafana" / name.removeprefix("image-size-")).read_text())
    assert len(boards) == 5

    rule = one(documents, "PrometheusRule")
    rules = {rule.get("alert"): rule for group in rule["spec"]["groups"] for rule in group["rules"]}
    shipped = {
        rule.get("alert"): rule
        for group in yaml.safe_load((CHART / "files/rules.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    assert rules["ImageSizeGrew"]["labels"] == {"severity": "critical", "team": "payments"}
    assert rules["ImageSizeGrew"]["for"] == "1h" and rules["ImageSizeGrew"]["expr"] == shipped["ImageSizeGrew"]["expr"]
    assert "ImageSizeRateLimitLow" not in rules and "ImageSizeHuge" in rules
    assert rules["ImageSizeOverBudget"]["annotations"]["dashboard"]
    assert rules["ImageSizeOverBudget"]["annotations"]["summary"] == shipped["ImageSizeOverBudget"]["annotations"]["summary"]
    assert rules["ImageSizeExporterDown"] == shipped["ImageSizeExporterDown"]
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
        yaml.safe_dump({"groups": rule["spec"]["groups"]}, file)
        file.flush()
        subprocess.run(["promtool", "check", "rules", file.name], check=True, stdout=subprocess.DEVNULL)


def check_shards(chart):
    """A pod and a volume for each shard, which know their number; one scrape of each; an address of each."""
    documents = render(chart, {"shards": 3, "serviceMonitor": {"enabled": True}})
    validate(documents)
    stateful = one(documents, "StatefulSet")
    assert stateful["spec"]["replicas"] == 3
    assert len(stateful["spec"]["volumeClaimTemplates"]) == 1
    (container,) = stateful["spec"]["template"]["spec"]["containers"]
    assert {"--shard.from-hostname", "--total-shards=3"} <= set(container["args"]), container["args"]
    check_waits(container, documents)
    asked = one(documents, "ServiceMonitor")["spec"]["selector"]["matchLabels"].items()
    scraped = [d for d in documents if d["kind"] == "Service" and asked <= d["metadata"]["labels"].items()]
    assert [service["metadata"]["name"] for service in scraped] == [stateful["spec"]["serviceName"]], "a shard is scraped twice"
    assert scraped[0]["spec"]["sessionAffinity"] == "ClientIP", "pages of another shard with each request"
    pods = [service["spec"]["selector"]["statefulset.kubernetes.io/pod-name"] for service in shard_services(documents)]
    assert pods == [f"{stateful['metadata']['name']}-{number}" for number in range(3)], pods

    documents = render(chart, {"shards": 1})
    (container,) = one(documents, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert not shard_services(documents) and not any("shard" in argument for argument in container["args"])
    assert "initialDelaySeconds" not in container["readinessProbe"]
    assert not {"publishNotReadyAddresses", "sessionAffinity"} & set(one(documents, "Service")["spec"])

    probe = {"initialDelaySeconds": 5, "periodSeconds": 7}
    documents = render(chart, {"shards": 2, "shardReadySeconds": 90, "readinessProbe": probe})
    (container,) = one(documents, "StatefulSet")["spec"]["template"]["spec"]["containers"]
    assert container["readinessProbe"].items() >= {"initialDelaySeconds": 90, "periodSeconds": 7}.items()


def check_waits(container, documents):
    """A rollout waits for a first scan, also where Kubernetes does not know minReadySeconds of pods in parallel; who waits is
    scraped, and gets notifications."""
    assert container["readinessProbe"]["initialDelaySeconds"] >= 60
    services = [document for document in documents if document["kind"] == "Service"]
    assert services and all(service["spec"]["publishNotReadyAddresses"] for service in services)


def check_variants(chart):
    """Values that the two files of ci/ do not have."""
    validate(render(chart, {"persistence": {"enabled": False}, "serviceAccount": {"create": False}}))
    validate(render(chart, {"config": {"existingName": "existing"}, "dockerConfig": {"existingSecret": "hub"}}))
    documents = render(chart, {"state": {"urlSecret": "sizes-database"}})
    validate(documents)
    stateful = one(documents, "StatefulSet")["spec"]
    assert "volumeClaimTemplates" not in stateful, "a volume for a state file that there is not"
    container = stateful["template"]["spec"]["containers"][0]
    variables = {variable["name"]: variable["value"] for variable in container["env"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert variables == {"IMAGE_SIZE_EXPORTER__STATE__URL_FILE": f"{mounts['database']}/url"}, variables
    documents = render(chart, {"watchPods": {"enabled": True}})
    validate(documents)
    assert one(documents, "ClusterRole")["metadata"]["name"] == "prod-demo-image-size-exporter", "the same as in another namespace"
    documents = render(chart, {"nameOverride": "sizes", "prometheusRule": {"enabled": True}})
    validate(documents)
    exprs = [r["expr"] for group in one(documents, "PrometheusRule")["spec"]["groups"] for r in group["rules"]]
    assert any('job="sizes"' in expr for expr in exprs), "the alert asks for a job that there is not"

    refused = [
        {"replica": 1},
        {"replicas": -1},
        {"shards": 0},
        {"shardReadySeconds": -1},
        {"image": {"pullPolicy": "Sometimes"}},
        {"image": {"digest": "latest"}},
        {"config": {"kind": "File"}},
        {"serviceMonitor": {"interval": "often"}},
        {"prometheusRule": {"overrides": {"ImageSizeGrew": {"severity": "loud"}}}},
        {"persistence": {"accessModes": []}},
        {"state": {"urlSecret": "postgres://me@db/sizes"}},
        {"watchPods": {"namespaces": ["Web"]}},
    ]
    for values in refused:
        try:
            chart.validate_schema(values)
        except helm.HelmError:
            continue
        raise AssertionError(f"values.schema.json lets {values} pass")
    failing = [
        ({"prometheusRule": {"enabled": True, "overrides": {"ImageSizeGrow": {"for": "1h"}}}}, "there is no such alert"),
        ({"watchPods": {"enabled": True}, "serviceAccount": {"create": False}}, "not the namespace's default"),
        ({"shards": 2, "replicas": 2}, "each shard has one pod"),
        ({"replicas": 2, "state": {"urlSecret": "sizes-database"}}, "a database of its own"),
    ]
    for values, message in failing:
        try:
            render(chart, values)
        except helm.HelmError as error:
            assert message in str(error), error
        else:
            raise AssertionError(f"{values} pass")
    validate(render(chart, {"watchPods": {"enabled": True}, "serviceAccount": {"create": False, "name": "own"}}))

    schema = json.loads((CHART / "values.schema.json").read_text())
    unknown = set(chart.values) ^ set(schema["properties"]) - {"global"}
    assert not unknown, f"in values.yaml or its schema, but not in both: {unknown}"


def kustomize(folder, component=None):
    """What `kubectl kustomize` makes of this kustomization, and of a component: the few transformers that they use, and no
    others."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text())
    known = {"apiVersion", "kind", "namespace", "labels", "resources", "configMapGenerator", "images"}
    assert set(kustomization) == known, f"teach this test {set(kustomization) ^ known}"
    documents = []
    for resource in kustomization["resources"]:
        documents += yaml.safe_load_all((folder / resource).read_text())
    if component:
        part = yaml.safe_load((component / "kustomization.yaml").read_text())
        assert set(part) - {"resources"} == {"apiVersion", "kind", "patches"}, f"teach this test {set(part)}"
        for resource in part.get("resources", []):
            documents += yaml.safe_load_all((component / resource).read_text())
        for patch in part["patches"]:
            patched = one(documents, patch["target"]["kind"])
            assert patched["metadata"]["name"] == patch["target"]["name"]
            for step in yaml.safe_load(patch["patch"]):
                *path, last = step["path"].strip("/").split("/")
                place = patched
                for key in path:
                    place = place[int(key) if isinstance(place, list) else key]
                if step["op"] == "add" and isinstance(place, list) and last == "-":
                    place.append(step["value"])
                    continue
                assert step["op"] in ("add", "replace"), f"teach this test {step['op']}"
                assert (last in place) is (step["op"] == "replace"), f"{step['path']}: {step['op']}"
                place[last] = step["value"]
    for generator in kustomization["configMapGenerator"]:
        data = {file: (folder / file).read_text() for file in generator["files"]}
        suffix = hashlib.sha256(json.dumps(data).encode()).hexdigest()[:10]
        documents.append(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": f"{generator['name']}-{suffix}"},
                "data": data,
            }
        )
        for document in documents:
            if document["kind"] == "StatefulSet":
                for volume in document["spec"]["template"]["spec"]["volumes"]:
                    if volume.get("configMap", {}).get("name") == generator["name"]:
                        volume["configMap"]["name"] += f"-{suffix}"
    for document in documents:
        if document["kind"] != "Namespace" and not document["kind"].startswith("ClusterRole"):
            document["metadata"]["namespace"] = kustomization["namespace"]
        for pairs in (label["pairs"] for label in kustomization["labels"]):
            document["metadata"].setdefault("labels", {}).update(pairs)
            if document["kind"] == "Service":
                document["spec"].setdefault("selector", {}).update(pairs)
            if document["kind"] == "StatefulSet":
                document["spec"].setdefault("selector", {}).setdefault("matchLabels", {}).update(pairs)
                document["spec"]["template"].setdefault("metadata", {}).setdefault("labels", {}).update(pairs)
        if document["kind"] == "StatefulSet":
            for container in document["spec"]["template"]["spec"]["containers"]:
                (image,) = [image for image in kustomization["images"] if image["name"] == container["image"]]
                container["image"] = f"{image['name']}:{image['newTag']}"
    return documents


def check_plain():
    documents = kustomize(PLAIN)
    validate(documents)
    check_claim(documents)
    used = {"kustomization.yaml", "config.toml"} | set(yaml.safe_load((PLAIN / "kustomization.yaml").read_text())["resources"])
    assert {path.name for path in PLAIN.iterdir() if path.is_file()} == used, "a file that the kustomization does not name"
    watch_pods = PLAIN / "watch-pods"
    validate(kustomize(PLAIN, watch_pods))
    used = {"kustomization.yaml"} | set(yaml.safe_load((watch_pods / "kustomization.yaml").read_text())["resources"])
    assert {path.name for path in watch_pods.iterdir()} == used, "a file that the component does not name"
    sharded = kustomize(PLAIN, PLAIN / "shards")
    validate(sharded)
    stateful = one(sharded, "StatefulSet")["spec"]
    (container,) = stateful["template"]["spec"]["containers"]
    check_waits(container, sharded)
    arguments = container["args"]
    assert {"--shard.from-hostname", f"--total-shards={stateful['replicas']}"} <= set(arguments), arguments
    namespace = one(documents, "Namespace")
    assert namespace["metadata"]["name"] == one(documents, "Service")["metadata"]["namespace"]
    # The secret that a comment tells to create is the one that the pod mounts.
    (secret,) = [v["secret"]["secretName"] for v in one(documents, "StatefulSet")["spec"]["template"]["spec"]["volumes"] if "secret" in v]
    hint = f"kubectl create secret docker-registry {secret} --namespace {namespace['metadata']['name']} "
    assert hint in (PLAIN / "statefulset.yaml").read_text(), f"no comment says: {hint}"


def main():
    check_copies()
    findings = helm.lint(str(CHART))
    worse = [message for message in findings["messages"] if message["severity"] > 1]
    assert not findings["errors"] and not worse, findings
    with helm.Chart.load(str(CHART)) as chart:
        assert chart.version == chart.metadata["appVersion"], "chart and exporter are released together"
        check_default(chart)
        check_full(chart)
        check_shards(chart)
        check_variants(chart)
    check_plain()


if __name__ == "__main__":
    try:
        main()
    except (AssertionError, helm.HelmError, kubernetes_validate.ValidationError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
