; A pattern is read as a regular expression where it is the argument of `regex`.
((call
  function: (identifier) @_function
  arguments: (arguments
    (argument
      value: (raw_string (raw_content) @injection.content))))
  (#match? @_function "^regex$")
  (#set! injection.language "regex"))

([(comment) (doc_comment)] @injection.content
  (#set! injection.language "comment"))
