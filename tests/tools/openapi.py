#!/usr/bin/env python3
"""Writes docs/openapi.yaml from the routes and handlers in engine/src/serve; with --check only says whether it is as written."""

import json
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parents[2]
serve = root / "engine/src/serve"
wire = root / "engine/api/src"
target = root / "docs/openapi.yaml"

HANDLER = re.compile(r"((?:^[ ]*///[^\n]*\n)*)^(?:pub\((?:super|crate)\) )?(?:async )?fn (\w+)(.*?)^}", re.M | re.S)
ROUTE = re.compile(r"\.route\(\s*\"([^\"]+)\",\s*((?:[^()]|\((?:[^()]|\([^()]*\))*\))*?)\s*,?\s*\)", re.S)
ANY = re.compile(r"\bany\(([\w:]+)")
ARM = re.compile(r'\(&Method::(\w+), "(\w+)"\)')
METHOD = re.compile(r"\b(get|post|put|delete|head)\(([\w:]+)")
QUERY = re.compile(r"\.(text|flag|flag_or|number|all|filters|size)\((?:\"(\w[\w-]*)\")?")
BODY = re.compile(r"let \w+: (?:Option<)?(\w+)>? = (optional_)?json\(")
STRUCT = re.compile(r"pub struct (\w+) \{\n(.*?)\n *\}", re.S)
FIELD = re.compile(r"((?: *#\[serde\(.*?\)\]\n)*) *pub (\w+): (.+?),\n", re.S)
ALIAS = re.compile(r"^pub type (\w+) = (.+);", re.M)
NUMBERS = {"i64": "int64", "u64": "int64", "i32": "int32", "u32": "int64", "u16": "int32", "u8": "int32", "usize": "int64"}
KINDS = {"flag": "boolean", "flag_or": "boolean", "number": "integer"}


def handlers():
    found = {}
    for path in sorted(serve.rglob("*.rs")):
        for doc, name, body in HANDLER.findall(path.read_text()):
            words = " ".join(line.strip()[3:].strip() for line in doc.splitlines())
            words = re.sub(r"^(`[^`]*`( and )?)+[.:]?\s*", "", words)
            found.setdefault((path.stem, name), (words, body))
            found.setdefault(name, (words, body))
    return found


def operations():
    known = handlers()
    for path in sorted(serve.rglob("*.rs")):
        text = path.read_text().split("#[cfg(test)]")[0]
        for place, methods in ROUTE.findall(text):
            for method, name in METHOD.findall(methods):
                parts = name.split("::")
                key = tuple(parts[-2:]) if len(parts) > 1 else (path.stem, name)
                words, body = known.get(key) or known.get(parts[-1], ("", ""))
                yield place.replace("{*", "{"), method, parts[-1], words, body
            for name in ANY.findall(methods):
                # A name with slashes in the middle of the path: the handler itself tells the rest of the path.
                _, body = known.get((path.stem, name)) or known.get(tuple(name.split("::")[-2:])) or ("", "")
                named = re.sub(r"\{\*\w+\}$", "{name}", place)
                for method in re.findall(r"method == Method::(\w+)", body):
                    yield named, method.lower(), "remove", "", body.partition("return")[0]
                for method, action in ARM.findall(body):
                    arm = body.partition(f'(&Method::{method}, "{action}")')[2].partition("(&Method::")[0]
                    yield f"{named}/{action}", method.lower(), action, "", arm


def parameters(place, body):
    for name in re.findall(r"\{(\w+)\}", place):
        yield name, "path", "string"
    seen = set()
    for call, name in QUERY.findall(body):
        names = {"filters": ["filters"], "size": ["h", "w"]}.get(call, [name])
        for name in names:
            if name and name not in seen:
                seen.add(name)
                yield name, "query", "integer" if call == "size" else KINDS.get(call, "string")


def structs():
    """The wire's types by name: fields as they are called on the wire, with their Rust types."""
    found, aliases = {}, {}
    for path in sorted(wire.rglob("*.rs")):
        text = path.read_text().split("#[cfg(test)]")[0]
        aliases.update(ALIAS.findall(text))
        for name, body in STRUCT.findall(text):
            fields = []
            for attributes, field, kind in FIELD.findall(re.sub(r"^ *///.*\n", "", body + "\n", flags=re.M)):
                renamed = re.search(r'rename = "(\w+)"', attributes)
                if "flatten" in attributes:
                    fields.append((None, kind))
                    continue
                title = "".join(word.capitalize() for word in field.split("_"))
                fields.append((renamed.group(1) if renamed else title, " ".join(kind.split())))
            found.setdefault(name, fields)
    return found, aliases


def schema(kind, known, used):
    """A Rust type as a schema on one line. Everything may be null, as Go clients send it."""
    found, aliases = known
    kind = aliases.get(kind, kind)
    outer, _, inner = kind.removesuffix(">").partition("<")
    if outer == "Option":
        return schema(inner, known, used)
    if kind == "bool":
        return "{type: boolean, nullable: true}"
    if kind in NUMBERS:
        return f"{{type: integer, format: {NUMBERS[kind]}, nullable: true}}"
    if kind.startswith("[") and ";" in kind:
        item, _, count = kind.strip("[]").partition("; ")
        return f"{{type: array, nullable: true, minItems: {count}, maxItems: {count}, items: {schema(item, known, used)}}}"
    if outer == "Vec":
        return f"{{type: array, nullable: true, items: {schema(inner, known, used)}}}"
    if outer in ("BTreeMap", "HashMap", "IndexMap"):
        return f"{{type: object, nullable: true, additionalProperties: {schema(inner.partition(', ')[2], known, used)}}}"
    if kind == "Empty" or kind.endswith("Value"):
        return "{type: object}"
    if kind in found:
        used.append(kind)
        return f"{{$ref: '#/components/schemas/{kind}'}}"
    return "{type: string, nullable: true}"


def written():
    known, used = structs(), []
    lines = [
        "# Made by tests/tools/openapi.py from the routes in engine/src/serve; do not edit.",
        "openapi: 3.0.3",
        "info:",
        "  title: The engine of hoist",
        "  description: Docker's Engine API, and below /hoist/ what Docker has no words for. Every path may be preceded by /v1.NN.",
        "  version: '1.51'",
        "paths:",
    ]
    paths = {}
    for place, method, name, words, body in operations():
        paths.setdefault(place, {})[method] = (name, words, body)
    for place in sorted(paths):
        lines.append(f"  {place}:")
        for method in sorted(paths[place]):
            name, words, body = paths[place][method]
            lines.append(f"    {method}:")
            lines.append(f"      operationId: {method}{re.sub(r'[^A-Za-z]+', '_', place).rstrip('_')}")
            lines.append(f"      summary: {json.dumps(words or name.replace('_', ' '), ensure_ascii=False)}")
            given = list(parameters(place, body))
            if given:
                lines.append("      parameters:")
            for parameter, where, kind in given:
                required = "true" if where == "path" else "false"
                lines.append(
                    f"      - {{name: {parameter}, in: {where}, required: {required}, schema: {{type: {kind}}}}}"
                )
            taken = BODY.search(body)
            if taken:
                required = "false" if taken.group(2) else "true"
                content = schema(taken.group(1), known, used)
                lines.append(f"      requestBody: {{required: {required}, content: {{application/json: {{schema: {content}}}}}}}")
            lines.append("      responses:")
            lines.append("        2XX: {description: Done}")
            lines.append("        4XX: {$ref: '#/components/responses/Refused'}")
            lines.append("        5XX: {$ref: '#/components/responses/Refused'}")
    lines += [
        "components:",
        "  responses:",
        "    Refused:",
        "      description: Why not, and perhaps what can be done",
        "      content:",
        "        application/json:",
        "          schema:",
        "            type: object",
        "            required: [message]",
        "            properties: {message: {type: string}, hint: {type: string}}",
        "  schemas:",
    ]
    seen = set()
    while used:
        name = used.pop(0)
        if name in seen:
            continue
        seen.add(name)
        lines += [f"    {name}:", "      type: object", "      properties:"]
        fields = list(known[0][name])
        for field, kind in fields:
            if field is None:
                fields += known[0].get(kind, [])
            else:
                lines.append(f"        {field}: {schema(kind, known, used)}")
    lines.append("")
    return "\n".join(lines)


if sys.argv[1:] == ["--check"]:
    if not target.exists() or target.read_text() != written():
        sys.exit("docs/openapi.yaml is not what the routes say: run tests/tools/openapi.py")
else:
    target.parent.mkdir(exist_ok=True)
    target.write_text(written())
