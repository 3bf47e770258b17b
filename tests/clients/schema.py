"""What `hoist config --schema` prints, read by an implementation of JSON Schema that editors' users have.

Arguments: the schema, and a file with documents that are right and documents that are wrong.
"""

import json
import sys

import jsonschema

with open(sys.argv[1], encoding="utf-8") as file:
    schema = json.load(file)
with open(sys.argv[2], encoding="utf-8") as file:
    documents = json.load(file)

# Against the meta-schema that it names.
cls = jsonschema.validators.validator_for(schema, default=None)
assert cls is not None, "the schema does not say which JSON Schema it is"
cls.check_schema(schema)
validator = cls(schema)
for document in documents["right"]:
    errors = [error.message for error in validator.iter_errors(document)]
    assert not errors, (document, errors)
for document in documents["wrong"]:
    assert not validator.is_valid(document), document
print("all is well")
