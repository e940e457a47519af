package planted

import "time"

// Tests may use what the core may not.
func fromTest() {
	counter = int(time.Now().Unix())
	go fromTest()
}
