package main

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What the floor program is measured with reads back what it wrote, whatever the choices: a floor that loses
// records would be no floor.
func TestWhatIsWrittenReadsBack(t *testing.T) {
	for name, c := range map[string]choices{
		"default":   {crc: true, path: "loop", writev: true, pool: true, sync: "group", sendfile: true},
		"lock":      {crc: true, path: "lock", pool: true, sync: "none", sendfile: true, inline: true},
		"one file":  {crc: true, path: "loop", writev: true, pool: true, sync: "group", shared: true, sendfile: true},
		"by pread":  {crc: true, kmsg: true, path: "loop", sync: "each", prealloc: 1 << 20},
		"no writev": {path: "loop", pool: true, sync: "none", sendfile: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			addr := l.Addr().String()
			_ = l.Close()
			go func() { _ = run(addr, t.TempDir(), c) }() // ends with the test's process
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			for {
				conn, err := net.Dial("tcp", addr)
				if err == nil {
					_ = conn.Close()
					break
				}
				if ctx.Err() != nil {
					t.Fatal(err)
				}
			}
			cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DefaultProduceTopic("t"), kgo.ConsumeTopics("t"), kgo.MetadataMinAge(10*time.Millisecond))
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			if _, err := kadm.NewClient(cl).CreateTopic(ctx, 3, 1, nil, "t"); err != nil {
				t.Fatal(err)
			}
			const records = 2000
			for i := range records {
				cl.Produce(ctx, kgo.StringRecord(fmt.Sprint(i)), func(_ *kgo.Record, err error) {
					if err != nil {
						t.Error(err)
					}
				})
			}
			if err := cl.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			seen := map[string]bool{}
			for len(seen) < records {
				fetches := cl.PollFetches(ctx)
				if err := fetches.Err(); err != nil {
					t.Fatalf("after %d of %d records: %v", len(seen), records, err)
				}
				fetches.EachRecord(func(r *kgo.Record) { seen[string(r.Value)] = true })
			}
		})
	}
}
