package protocol

// Budget bounds what one frame may cost its reader, whatever lengths it claims. The bounds hold even if
// a reused struct needs no new memory, so that a frame is accepted or refused by its bytes alone.
type Budget struct {
	ElementCountMax int // elements of all arrays together
	AllocBytesMax   int // memory of all arrays, strings and nullable structs together; bytes fields alias the frame and are free
}

// BudgetForClients is for an authenticated peer: a request naming a million partitions fits.
func BudgetForClients() Budget { return Budget{ElementCountMax: 4 << 20, AllocBytesMax: 256 << 20} }

// BudgetForStrangers is for a peer that has not authenticated, who may send ApiVersions and SASL only.
func BudgetForStrangers() Budget { return Budget{ElementCountMax: 256, AllocBytesMax: 16 << 10} }
