package group

// State is where a group is in the classic protocol.
//
//	                     a member joins
//	          ┌──────────────────────────────────┐
//	          │                                  ▼
//	  ┌──► Empty ◄── nobody is left ── PreparingRebalance ◄─────────────┐
//	  │       │                                  │                      │ a member joins with other metadata,
//	load      │ nothing is left                  │ all have joined,     │ leaves or is silent; the leader joins
//	  │       ▼                                  │ or time is over      │ again; somebody never syncs
//	  │     Dead                                 ▼                      │
//	  │                               CompletingRebalance ──────────────┤
//	  │                                          │                      │
//	  │                                          │ the leader's         │
//	  │                                          │ assignment is durable│
//	  │                                          ▼                      │
//	  └───────────────────────────────────────Stable ───────────────────┘
type State uint8

// The states.
const (
	Empty               State = iota // no members; offsets may be there, and expire
	PreparingRebalance               // members are asked to join again
	CompletingRebalance              // the generation is fixed, its assignment is awaited
	Stable                           // every member has or can have its assignment
	Dead                             // the group is forgotten
)

// String is Kafka's name of the state.
func (s State) String() string {
	return [...]string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}[s]
}
