"""The executor `processes`: the caller's side, the helpers' side, and the memory between them."""
