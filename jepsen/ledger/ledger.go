// Package ledger keeps account, while a run goes on, of records that were sent, acknowledged and read, and says at any
// moment what is lost, duplicated or out of order. It is for runs of any length: some bytes a record, and one look at each.
//
// The records of a partition are numbered from 0 on in the order in which one idempotent producer sends them. So what a
// reader must see is known: each number at most once, in growing order, none missing that was acknowledged, each at the
// offset that was acknowledged. Package sim/check judges histories of many producers with all their times, afterwards; here
// is what one producer makes simple enough to be judged at once.
//
// Deliberately absent: where records come from, time, what a record holds.
package ledger

import (
	"fmt"
	"sync"
)

// Counts is what a ledger has come to. Everything from Lost on is wrong.
type Counts struct {
	Sent  int64 `json:"sent"`
	Acked int64 `json:"acked"`
	Read  int64 `json:"read"` // different records, acknowledged or not

	Lost       int64 `json:"lost"`       // acknowledged, and the reader has gone past it, or it is gone when read again
	Duplicated int64 `json:"duplicated"` // stands twice, or was delivered twice
	Reordered  int64 `json:"reordered"`  // stands behind a later one
	Changed    int64 `json:"changed"`    // an offset that held something else before, or was acknowledged for another record
	Invented   int64 `json:"invented"`   // was never sent
}

// Wrong is how many promises were broken.
func (c Counts) Wrong() int64 {
	return c.Lost + c.Duplicated + c.Reordered + c.Changed + c.Invented
}

// Ledger is the account of one topic. It is safe for concurrent use.
type Ledger struct {
	mu         sync.Mutex
	partitions []partition
	counts     Counts
	findings   []string
}

type partition struct {
	records []entry // by number
	next    int64   // the offset after the last that was read
	last    int64   // the highest number that was read; -1: none
	again   int64   // records that were read again where they stood
}

// entry is one record.
type entry struct {
	acked  int64 // offset + 1; 0: not acknowledged, -1: acknowledged, and the offset is not known
	read   int64 // offset + 1; 0: not read
	isLost bool  // counted as lost
}

// New is the ledger of a topic that nobody has written to.
func New(partitions int) *Ledger {
	l := &Ledger{partitions: make([]partition, partitions)}
	for i := range l.partitions {
		l.partitions[i].last = -1
	}
	return l
}

// findingsMax is how many findings are kept in words: the first ones explain the rest.
const findingsMax = 50

func (l *Ledger) found(count *int64, format string, args ...any) {
	*count++
	if len(l.findings) < findingsMax {
		l.findings = append(l.findings, fmt.Sprintf(format, args...))
	}
}

// Send takes the next number of a partition.
func (l *Ledger) Send(p int32) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Sent++
	part := &l.partitions[p]
	part.records = append(part.records, entry{})
	return int64(len(part.records) - 1)
}

// Ack says that a record was acknowledged; offset is -1 if the producer was not told it.
func (l *Ledger) Ack(p int32, number, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts.Acked++
	part := &l.partitions[p]
	e := &part.records[number]
	if e.acked = offset + 1; offset < 0 {
		e.acked = -1
	}
	switch {
	case e.read != 0 && offset >= 0 && e.read != offset+1:
		l.found(&l.counts.Changed, "changed: record %d of partition %d was acknowledged at offset %d, and stands at %d", number, p, offset, e.read-1)
	case e.read == 0 && number < part.last:
		l.lose(p, number, "the reader has passed its place")
	}
}

// lose counts a record as lost, once.
func (l *Ledger) lose(p int32, number int64, why string) {
	e := &l.partitions[p].records[number]
	if e.isLost {
		return
	}
	e.isLost = true
	l.found(&l.counts.Lost, "lost: record %d of partition %d, acknowledged at offset %d: %s", number, p, e.acked-1, why)
}

// Read says what the reader, who reads every partition from its beginning, was given next.
func (l *Ledger) Read(p int32, number, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part := &l.partitions[p]
	if number < 0 || number >= int64(len(part.records)) {
		l.found(&l.counts.Invented, "invented: partition %d offset %d holds record %d, which was never sent", p, offset, number)
		return
	}
	e := &part.records[number]
	if offset < part.next {
		if e.read == offset+1 {
			l.found(&l.counts.Duplicated, "duplicated: record %d of partition %d, offset %d, was delivered twice", number, p, offset)
		} else {
			l.found(&l.counts.Changed, "changed: partition %d offset %d holds record %d, and the reader had gone on to %d", p, offset, number, part.next)
		}
		return
	}
	part.next = offset + 1
	if e.read != 0 {
		l.found(&l.counts.Duplicated, "duplicated: record %d of partition %d stands at offsets %d and %d", number, p, e.read-1, offset)
		return
	}
	e.read = offset + 1
	l.counts.Read++
	if e.acked > 0 && e.acked != e.read {
		l.found(&l.counts.Changed, "changed: record %d of partition %d was acknowledged at offset %d, and stands at %d", number, p, e.acked-1, offset)
	}
	if number < part.last {
		if e.isLost {
			e.isLost = false // it is there after all
			l.counts.Lost--
		}
		l.found(&l.counts.Reordered, "reordered: record %d of partition %d stands behind %d", number, p, part.last)
		return
	}
	for skipped := part.last + 1; skipped < number; skipped++ {
		if s := &part.records[skipped]; s.read == 0 && s.acked != 0 {
			l.lose(p, skipped, fmt.Sprintf("the reader found record %d after %d", number, part.last))
		}
	}
	part.last = number
}

// ReadAgain says what another reader was given, that began anew when all was over. What the first reader saw must stand
// where it stood.
func (l *Ledger) ReadAgain(p int32, number, offset int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	part := &l.partitions[p]
	if number < 0 || number >= int64(len(part.records)) || part.records[number].read != offset+1 {
		l.found(&l.counts.Changed, "changed: read again, partition %d offset %d holds record %d, which did not stand there", p, offset, number)
		return
	}
	part.again++
}

// Close counts as lost what was acknowledged and not read, and what was read and is not there when it is read again. It is
// for the end, when the readers have read all there is.
func (l *Ledger) Close(wasReadAgain bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.partitions {
		part := &l.partitions[p]
		read := int64(0)
		for number := range part.records {
			if part.records[number].read != 0 {
				read++
			} else if part.records[number].acked != 0 {
				l.lose(int32(p), int64(number), "it was never read")
			}
		}
		if wasReadAgain && part.again < read {
			l.findings = append(l.findings, fmt.Sprintf("lost: partition %d: %d records were read, and %d of them when it was read again", p, read, part.again))
			l.counts.Lost += read - part.again
		}
	}
}

// Counts is what the ledger has come to so far.
func (l *Ledger) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts
}

// Ends are the offsets after the last record that was acknowledged in each partition: a reader that has read up to there
// has seen everything that it must.
func (l *Ledger) Ends() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	ends := make([]int64, len(l.partitions))
	for p := range l.partitions {
		for i := range l.partitions[p].records {
			ends[p] = max(ends[p], l.partitions[p].records[i].acked)
		}
	}
	return ends
}

// Positions are the offsets up to which the reader has read.
func (l *Ledger) Positions() []int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := make([]int64, len(l.partitions))
	for p := range l.partitions {
		at[p] = l.partitions[p].next
	}
	return at
}

// Findings says what is wrong, the first of it.
func (l *Ledger) Findings() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.findings...)
}
