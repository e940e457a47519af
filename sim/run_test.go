package sim

import (
	"os"
	"strconv"
	"testing"
)

// One world may be run by hand: SIM_SEEDS=1:100 SIM_MODE=lite go test -run TestSeeds ./sim -v
func TestSeeds(t *testing.T) {
	from, to := uint64(1), uint64(20)
	mode := Lite
	if m := os.Getenv("SIM_MODE"); m != "" {
		mode = Mode(m)
	}
	if s := os.Getenv("SIM_SEEDS"); s != "" {
		var err error
		if from, err = strconv.ParseUint(s[:indexByte(s, ':')], 10, 64); err != nil {
			t.Fatal(err)
		}
		if to, err = strconv.ParseUint(s[indexByte(s, ':')+1:], 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	for seed := from; seed <= to; seed++ {
		o := Options{Seed: seed, Mode: mode}
		if path := os.Getenv("SIM_TRACE"); path != "" {
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			o.Trace = f
		}
		r := Run(o)
		t.Log(r.Line(), r.CoreEvents, r.OpsOK, r.Ops)
		if !r.OK() {
			t.Errorf("%s\n%s", r.Report(), r.Plan)
		}
	}
}

func indexByte(s string, c byte) int {
	for i := range len(s) {
		if s[i] == c {
			return i
		}
	}
	return -1
}
