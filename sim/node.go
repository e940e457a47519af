package sim
type node struct{}
