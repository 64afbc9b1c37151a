"""Holds rendered Kubernetes objects against published schemas and the project's own rules.

Called by scripts/check-manifests. Prints each problem on a line, and how much was checked; exits with
1 if there is a problem.
"""

import argparse
import pathlib
import re
import subprocess
import sys

import jsonschema
import kubernetes_validate
import yaml

# The oldest release that the chart supports, and the newest that the schemas know.
RELEASES = ["1.29", "1.37"]
GROUPS_OF_KUBERNETES = {"", "apps", "batch", "networking.k8s.io"}
ROOT = pathlib.Path(__file__).parents[2]


def group_of(document):
    return document["apiVersion"].rpartition("/")[0]


def schemas_in(directory):
    """(group/version, kind) -> schema, of every CustomResourceDefinition in a directory."""
    found = {}
    for file in pathlib.Path(directory).rglob("*.y*ml"):
        for document in yaml.safe_load_all(file.read_text()):
            if not document or document.get("kind") != "CustomResourceDefinition":
                continue
            spec = document["spec"]
            for version in spec["versions"]:
                key = f"{spec['group']}/{version['name']}", spec["names"]["kind"]
                found[key] = closed(version["schema"]["openAPIV3Schema"])
    return found


def closed(schema):
    """Kubernetes drops what a schema does not name; here it is a mistake."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(value) for key, value in schema.items()}
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if isinstance(schema.get("properties"), dict) and "type" in schema and not is_open:
        schema["additionalProperties"] = False
    return schema


def pod_specs(document):
    """The pod specs in a document, whatever wraps them."""
    spec = document.get("spec") or {}
    if document["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    if "template" in spec and document["kind"] in {"CronJob", "Job", "StatefulSet"}:
        yield spec["template"]["metadata"], spec["template"]["spec"]


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]


def rules(document):
    """What every workload of ours has to keep to; yields sentences."""
    for metadata, pod in pod_specs(document):
        security = pod.get("securityContext", {})
        if not security.get("runAsNonRoot") or security.get("runAsUser", 0) == 0:
            yield "runs as root"
        if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield "no seccomp profile"
        if "terminationGracePeriodSeconds" not in pod:
            yield "leaves the termination grace to chance"
        names = {volume["name"] for volume in pod.get("volumes", [])}
        for container in containers(pod):
            yield from container_rules(container, names)
        if metadata.get("labels", {}).get("app.kubernetes.io/name") == "galera-sst":
            yield from own_rules(metadata, pod)


def own_rules(metadata, pod):
    if pod.get("automountServiceAccountToken") is not False:
        yield "has a token for the Kubernetes API"
    if metadata["labels"].get("sidecar.istio.io/inject") != "false":
        yield "a mesh may be injected"
    if metadata.get("annotations", {}).get("linkerd.io/inject") != "disabled":
        yield "a mesh may be injected"
    component = metadata["labels"]["app.kubernetes.io/component"]
    least = {"backup": 90, "arbitrator": 30, "restore": 30}[component]
    if pod["terminationGracePeriodSeconds"] < least:
        yield f"less than {least} s of termination grace"


def container_rules(container, volumes):
    name, security = container["name"], container.get("securityContext", {})
    if security.get("readOnlyRootFilesystem") is not True:
        yield f"{name}: the root file system can be written"
    if security.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: may gain privileges"
    if security.get("capabilities", {}).get("drop") != ["ALL"]:
        yield f"{name}: has capabilities"
    resources = container.get("resources", {})
    if "memory" not in resources.get("limits", {}) or "cpu" not in resources.get("requests", {}):
        yield f"{name}: no memory limit or no request for CPU"
    if ":" not in container["image"]:
        yield f"{name}: image {container['image']} has no tag"
    for mount in container.get("volumeMounts", []):
        if mount["name"] not in volumes:
            yield f"{name}: mounts {mount['name']}, which is no volume"


def command_lines(document, config_maps):
    """(arguments, environment) of each container and Function that runs galera-sst."""
    for _, pod in pod_specs(document):
        for container in containers(pod):
            if runs_us(container):
                yield container.get("args", []), environment_of(container, config_maps)
    if document["kind"] == "Function" and runs_us(document["spec"]):
        yield [without_variables(text) for text in document["spec"]["args"]], {}


def runs_us(container):
    command = container.get("command", [])
    image = container.get("image", "")
    return image.startswith("galera-sst:") if not command else command[0].endswith("/galera-sst")


def without_variables(text):
    """What Stash would put there: the default, else a word that suits every flag of text."""
    text = text.replace("${address}", "gcomm://a").replace("${NAMESPACE:=default}", "default")
    return re.sub(r"\$\{\w+(?::=([^}]*))?\}", lambda match: match[1] or "value", text)


def environment_of(container, config_maps):
    environment = {}
    for source in container.get("envFrom", []):
        name = source.get("configMapRef", {}).get("name")
        if name:
            environment |= config_maps[name]
    for entry in container.get("env", []):
        if "value" in entry:
            environment[entry["name"]] = entry["value"]
        elif "configMapKeyRef" in entry.get("valueFrom", {}):
            reference = entry["valueFrom"]["configMapKeyRef"]
            environment[entry["name"]] = config_maps[reference["name"]][reference["key"]]
    return environment


def refused(program, arguments, environment):
    """Why galera-sst does not take a command line, or nothing. `--help` last stops it from running."""
    names = {name for name in environment if name.startswith("GALERA_SST_")}
    known = {line.split("`--")[1].split()[0].rstrip("`") for line in reference_rows(arguments[0])}
    unknown = {name for name in names if name[11:].lower().replace("_", "-") not in known}
    if unknown:
        return f"no flag of {arguments[0]} has the twin {', '.join(sorted(unknown))}"
    # The twins as flags, so that their values are parsed as well.
    twins = [f"--{name[11:].lower().replace('_', '-')}={environment[name]}" for name in sorted(names)]
    run = subprocess.run([program, *arguments, *twins, "--help"], capture_output=True, text=True, env={})
    return None if run.returncode == 0 else run.stderr.strip().splitlines()[0]


def reference_rows(command):
    """The rows about flags of a command in docs/reference.md, which is made from the program."""
    text = (ROOT / "docs/reference.md").read_text()
    sections = re.split(r"\n## ", text)
    wanted = [section for section in sections if section.startswith((f"`{command}`", "Flags of"))]
    return [line for section in wanted for line in section.splitlines() if line.startswith("| `--")]


def same_pod_everywhere(documents):
    """The Job and the CronJob differ in nothing but when they run."""
    specs = {}
    for file, document in documents:
        if document["metadata"]["name"] == "galera-sst-backup" and file.name.startswith(
            ("kustomize-deploy_kubernetes_job", "kustomize-deploy_kubernetes_cronjob")
        ):
            for pod in pod_specs(document):
                specs[document["kind"]] = pod
    assert set(specs) == {"Job", "CronJob"}, f"expected a Job and a CronJob, found {set(specs)}"
    return [] if specs["Job"] == specs["CronJob"] else ["the pods of Job and CronJob differ"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--crds")
    parser.add_argument("--program")
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    options = parser.parse_args()

    documents = []
    for file in options.files:
        documents += [(file, found) for found in yaml.safe_load_all(file.read_text()) if found]
    crds = schemas_in(options.crds) if options.crds else {}
    problems, checked, unchecked, lines = same_pod_everywhere(documents), 0, 0, 0
    for file in options.files:
        own = [document for other, document in documents if other == file]
        config_maps = {d["metadata"]["name"]: d["data"] for d in own if d["kind"] == "ConfigMap"}
        for document in own:
            where = f"{file.stem}: {document['kind']} {document['metadata']['name']}"
            problems += [f"{where}: {problem}" for problem in rules(document)]
            key = document["apiVersion"], document["kind"]
            try:
                if group_of(document) in GROUPS_OF_KUBERNETES:
                    for release in RELEASES:
                        kubernetes_validate.validate(document, release, strict=True)
                    checked += 1
                elif key in crds:
                    jsonschema.validate(document, crds[key])
                    checked += 1
                else:
                    unchecked += 1
            except (kubernetes_validate.ValidationError, jsonschema.ValidationError) as error:
                path = ".".join(str(part) for part in getattr(error, "path", []))
                problems.append(f"{where}: {path}: {error.message}")
            for arguments, environment in command_lines(document, config_maps):
                lines += 1
                why = options.program and refused(options.program, arguments, environment)
                if why:
                    problems.append(f"{where}: {' '.join(arguments)}: {why}")

    for problem in problems:
        print(problem)
    tried = f"{lines} command lines tried" if options.program else f"{lines} command lines not tried"
    print(f"{checked} objects fit their schemas, {unchecked} without a schema here, {tried}")
    sys.exit(1 if problems else 0)


main()
