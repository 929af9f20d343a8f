[
  (block)
  (curriculum)
  (frame_body)
  (list)
  (map)
  (arguments)
  (parameters)
  (parenthesized)
] @indent.begin

["}" "]" ")"] @indent.branch @indent.end
