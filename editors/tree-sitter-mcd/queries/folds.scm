[
  (block)
  (curriculum)
  (frame_body)
  (list)
  (map)
  (arguments)
] @fold
