package node

// Panics counts the connections that were closed because the node failed on what they sent.
func (n *Node) Panics() int64 { return n.metrics.Panics.Load() }
