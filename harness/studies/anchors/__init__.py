"""Published and computed anchors of gradients in recurrent networks, each held against a run."""
