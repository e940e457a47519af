// Package free is outside the core, where none of the rules hold.
package free

import "time"

var n int

func f() { go f(); n++; time.Sleep(1) }
