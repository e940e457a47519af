package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/weirmq/weir/sim/check"
)

// verdict is what a history comes to.
type verdict struct {
	acked      int // records whose producer was told that they are safe
	unknown    int // records whose producer was told nothing
	verified   int // acknowledged ones that were read back where they were acknowledged
	landed     int // unknown ones that were found
	lost       int // records that were acknowledged or consumed, and are gone
	duplicated int // records that stand twice
	reordered  int // records of one producer that stand in another order than sent
	changed    int // offsets that hold something else than before, or bytes that are not as sent
	other      int
	anomalies  []check.Anomaly
}

// judge judges a history with final states.
func judge(h *check.History) *verdict {
	v := &verdict{}
	at := map[check.Key]map[int64]int64{}
	for i := range h.Finals {
		f := &h.Finals[i]
		of := make(map[int64]int64, len(f.Values))
		for j, value := range f.Values {
			of[value] = f.Offsets[j]
		}
		at[f.Key] = of
	}
	for i := range h.Ops {
		op := &h.Ops[i]
		if op.F != check.Send {
			continue
		}
		for j, value := range op.Values {
			offset, found := at[check.Key{Topic: op.Topic, Partition: op.Partition}][value]
			switch {
			case op.Outcome != check.OK:
				v.unknown++
				if found {
					v.landed++
				}
			default:
				v.acked++
				if found && offset == op.Offset+int64(j) {
					v.verified++
				}
			}
		}
	}
	v.anomalies = append(check.Log(h), check.Places(h)...)
	v.anomalies = append(v.anomalies, check.Topics(h, 20*time.Second)...)
	for _, a := range v.anomalies {
		switch a.Kind {
		case check.Lost, check.Vanished:
			v.lost++
		case check.Duplicate:
			v.duplicated++
		case check.Order:
			v.reordered++
		case check.Inconsistent, check.Invented:
			v.changed++
		default:
			v.other++
		}
	}
	return v
}

// err is nil when nothing is wrong and something was tried.
func (v *verdict) err() error {
	var errs []error
	const shown = 20
	for i, a := range v.anomalies {
		if i == shown {
			errs = append(errs, fmt.Errorf("and %d more", len(v.anomalies)-shown))
			break
		}
		errs = append(errs, errors.New(a.String()))
	}
	if v.acked == 0 {
		errs = append(errs, errors.New("nothing was acknowledged, so the run shows nothing"))
	}
	if v.verified != v.acked && len(v.anomalies) == 0 {
		errs = append(errs, fmt.Errorf("%d records were acknowledged and %d of them read back", v.acked, v.verified))
	}
	return errors.Join(errs...)
}

// String is the verdict's part of the closing line.
func (v *verdict) String() string {
	s := fmt.Sprintf("acked=%d verified=%d lost=%d duplicated=%d reordered=%d changed=%d unacked=%d landed=%d",
		v.acked, v.verified, v.lost, v.duplicated, v.reordered, v.changed, v.unknown, v.landed)
	if v.other > 0 {
		kinds := map[string]bool{}
		for _, a := range v.anomalies {
			kinds[a.Kind] = true
		}
		s += fmt.Sprintf(" other=%d", v.other)
		for _, k := range []string{check.Gap, check.Aborted, check.BeyondEnd, check.Skipped, check.NotLinear, check.NotRegister, check.Undecided} {
			if kinds[k] {
				s += " " + strings.ReplaceAll(k, "-", "_")
			}
		}
	}
	return s
}
