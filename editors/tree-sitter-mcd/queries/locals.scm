(spec) @local.scope
(frame) @local.scope

(span name: (name) @local.definition)
(let name: (name) @local.definition)
(concept name: (name) @local.definition)
(source name: (name) @local.definition)
(teacher name: (name) @local.definition)
(model name: (name) @local.definition)
(import alias: (name) @local.definition)
(use alias: (name) @local.definition)
(parameter name: (name) @local.definition)
(label name: (name) @local.definition)

(identifier) @local.reference
