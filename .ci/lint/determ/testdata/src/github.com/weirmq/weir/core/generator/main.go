// Command generator writes code into the core and is no part of it.
package main

import "os"

func main() {
	for k := range map[string]int{"a": 1} {
		os.Stdout.WriteString(k)
	}
}
