package main

import (
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/sim/scale"
)

// memoryBudget is what the collector tries to keep a run within: twice what is in use is a lot when that is gigabytes.
const memoryBudget = 5 << 30

func (a *app) simScaleCommand() *cobra.Command {
	o := scale.Options{}
	c := &cobra.Command{
		Use: "scale", Short: "Run a cluster of a thousand nodes in one process", Args: cobra.NoArgs,
		Long: `Run a large cluster in simulated time: brokers register, partitions are created, the power fails everywhere and
comes back, a rack is lost and comes back. The nodes are the real machines with their voters, controller and fetchers; disks,
connections and records are left out. It tells for each phase how long it takes in simulated time until every partition is
led and in sync, and what that costs.`,
		Example: `  weir sim scale                                          1,000 brokers, 200,000 partitions: minutes, and some GB
  weir sim scale --brokers 100 --partitions 20000`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Voters < 1 || o.Voters > o.Brokers || o.Racks < 1 || o.Partitions < 1 || o.PartitionsPerTopic < 1 || o.ReplicationFactor < 1 || o.ReplicationFactor > o.Brokers {
				return usage("--voters is up to --brokers, --replication-factor too, and nothing is less than 1")
			}
			began := time.Now()
			o.Progress = func(line string) { a.say("%s", line) }
			endAtSignal()
			debug.SetMemoryLimit(memoryBudget)
			r, err := scale.Run(o)
			for _, p := range r.Phases {
				_ = a.print(p, "%-20s %9.3f s  led %9.3f s  steps %d calls %d fetches %d heartbeats %d image_pieces %d proposals %d metadata_log_bytes %d\n", p.Name,
					float64(p.Took)/1e9, float64(p.Led)/1e9, p.Steps, p.Calls, p.Fetches, p.Heartbeats, p.ImagePieces, p.Proposals, p.MetadataLogBytes)
			}
			if err != nil {
				return err
			}
			return a.print(r, "brokers=%d voters=%d racks=%d partitions=%d replication_factor=%d pairs=%d image_bytes=%d heap_bytes=%d elapsed=%v\n",
				o.Brokers, o.Voters, o.Racks, o.Partitions, o.ReplicationFactor, r.Pairs, r.ImageBytes, r.HeapBytes, time.Since(began).Round(time.Second))
		},
	}
	f := c.Flags()
	f.IntVar(&o.Brokers, "brokers", 1000, "how many brokers")
	f.IntVar(&o.Voters, "voters", 3, "how many of them vote")
	f.IntVar(&o.Racks, "racks", 3, "how many racks they are in")
	f.IntVar(&o.Partitions, "partitions", 200_000, "how many partitions")
	f.IntVar(&o.PartitionsPerTopic, "partitions-per-topic", 100, "how many of them a topic has")
	f.IntVar(&o.ReplicationFactor, "replication-factor", 3, "how many replicas each has")
	return c
}
