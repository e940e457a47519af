package sim

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/weirmq/weir/core/model"
)

// planHeader is the first line of a plan's text.
const planHeader = "weir simulation plan 1"

// field is one named value of a plan's line.
type field struct {
	name string
	at   any // *int64, *uint64, *bool, *string, *Mode, *Fault or *model.Time
}

func (p *Plan) fields() []field {
	return []field{
		{"seed", &p.Seed},
		{"mode", &p.Mode},
		{"until", &p.Until},
		{"settle", &p.Settle},
		{"events_max", &p.EventsMax},
		{"silent", &p.Silent},
	}
}

func (k *Knobs) fields() []field {
	return []field{
		{"journal_file_bytes", &k.JournalFileBytes},
		{"journal_block_bytes", &k.JournalBlockBytes},
		{"checkpoint_bytes", &k.CheckpointBytes},
		{"in_place_bytes_min", &k.InPlaceBytesMin},
		{"regions", &k.Regions},
		{"segment_bytes", &k.SegmentBytes},
		{"open_files_max", &k.OpenFilesMax},
		{"retention_check", &k.RetentionCheck},
		{"producer_expiry_ms", &k.ProducerExpiryMs},
		{"index_interval_bytes", &k.IndexIntervalBytes},
		{"default_partitions", &k.DefaultPartitions},
		{"auto_create", &k.AutoCreate},
		{"group_delay", &k.GroupDelay},
		{"group_log_bytes", &k.GroupLogBytes},
		{"image_piece_bytes", &k.ImagePieceBytes},
		{"loop_delay", &k.LoopDelay},
		{"io_delay", &k.IODelay},
	}
}

func (n *NetPlan) fields() []field {
	return []field{
		{"delay_min", &n.DelayMin},
		{"delay_mean", &n.DelayMean},
		{"segment_percent", &n.SegmentPercent},
		{"bytes_per_second", &n.BytesPerSecond},
		{"node_delay", &n.NodeDelay},
		{"node_bytes_per_second", &n.NodeBytesPerSecond},
	}
}

func (d *DiskPlan) fields() []field {
	return []field{{"op_mean", &d.OpMean}, {"sync_min", &d.SyncMin}, {"sync_mean", &d.SyncMean}}
}

func (n *NodePlan) fields() []field {
	return []field{
		{"id", &n.ID},
		{"wall_offset", &n.WallOffset},
		{"wall_drift_ppm", &n.WallDriftPPM},
		{"clock_drift_ppm", &n.ClockDriftPPM},
		{"observer", &n.Observer},
		{"rack", &n.Rack},
	}
}

func (l *Load) fields() []field {
	return []field{
		{"id", &l.ID},
		{"kind", &l.Kind},
		{"clients", &l.Clients},
		{"topics", &l.Topics},
		{"partitions", &l.Partitions},
		{"value_bytes", &l.ValueBytes},
		{"gap", &l.Gap},
		{"records", &l.Records},
		{"codec", &l.Codec},
		{"linger", &l.Linger},
		{"replicas", &l.Replicas},
		{"in_sync_min", &l.InSyncMin},
		{"surge", &l.Surge},
		{"surge_for", &l.SurgeFor},
	}
}

func (s *Strike) fields() []field {
	return []field{
		{"id", &s.ID},
		{"kind", &s.Kind},
		{"at", &s.At},
		{"for", &s.For},
		{"node", &s.Node},
		{"ops", &s.Ops},
		{"again", &s.Again},
		{"flips", &s.Flips},
		{"zeroed", &s.Zeroed},
		{"shortened", &s.Short},
		{"removed", &s.Removed},
		{"percent", &s.Percent},
		{"late", &s.Late},
		{"room", &s.Room},
		{"mean", &s.Mean},
		{"by", &s.By},
		{"times", &s.Times},
		{"evict", &s.Evict},
		{"whole", &s.Whole},
		{"cuts", &s.Cuts},
	}
}

// String prints the plan, one thing a line, so that lines can be changed or left out. Values that are
// zero are not printed.
func (p *Plan) String() string {
	var b strings.Builder
	b.WriteString(planHeader + "\n")
	writeFields(&b, "run", p.fields())
	writeFields(&b, "knobs", p.Knobs.fields())
	writeFields(&b, "net", p.Net.fields())
	writeFields(&b, "disk", p.Disk.fields())
	for i := range p.Nodes {
		writeFields(&b, "node", p.Nodes[i].fields())
	}
	for i := range p.Loads {
		writeFields(&b, "load", p.Loads[i].fields())
	}
	for i := range p.Strikes {
		writeFields(&b, "strike", p.Strikes[i].fields())
	}
	return b.String()
}

func writeFields(b *strings.Builder, word string, fields []field) {
	b.WriteString(word)
	for _, f := range fields {
		text := ""
		switch v := f.at.(type) {
		case *int64:
			if *v != 0 {
				text = strconv.FormatInt(*v, 10)
			}
		case *uint64:
			text = strconv.FormatUint(*v, 10)
		case *bool:
			if *v {
				text = "true"
			}
		case *string:
			text = *v
		case *Mode:
			text = string(*v)
		case *Fault:
			text = v.String()
		case *model.Time:
			if *v != 0 {
				text = time.Duration(*v).String()
			}
		}
		if text != "" {
			b.WriteString(" " + f.name + "=" + text)
		}
	}
	b.WriteString("\n")
}

// ParsePlan reads what String wrote, and what people made of it: blank lines and lines that begin with #
// are skipped.
func ParsePlan(text string) (*Plan, error) {
	p, headed := &Plan{}, false
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if !headed {
			if line != planHeader {
				return nil, fmt.Errorf("plan: the first line is not %q", planHeader)
			}
			headed = true
			continue
		}
		if err := p.parseLine(line); err != nil {
			return nil, fmt.Errorf("plan: line %d: %w", i+1, err)
		}
	}
	if !headed {
		return nil, fmt.Errorf("plan: the first line is not %q", planHeader)
	}
	return p, p.validate()
}

func (p *Plan) parseLine(line string) error {
	words := strings.Fields(line)
	switch words[0] {
	case "run":
		return readFields(p.fields(), words[1:])
	case "knobs":
		return readFields(p.Knobs.fields(), words[1:])
	case "net":
		return readFields(p.Net.fields(), words[1:])
	case "disk":
		return readFields(p.Disk.fields(), words[1:])
	case "node":
		n := NodePlan{}
		err := readFields(n.fields(), words[1:])
		p.Nodes = append(p.Nodes, n)
		return err
	case "load":
		l := Load{}
		err := readFields(l.fields(), words[1:])
		p.Loads = append(p.Loads, l)
		return err
	case "strike":
		s := Strike{}
		err := readFields(s.fields(), words[1:])
		p.Strikes = append(p.Strikes, s)
		return err
	}
	return fmt.Errorf("unknown word %q", words[0])
}

func readFields(fields []field, words []string) error {
next:
	for _, word := range words {
		name, text, _ := strings.Cut(word, "=")
		for _, f := range fields {
			if f.name == name {
				if err := f.set(text); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				continue next
			}
		}
		return fmt.Errorf("unknown field %q", name)
	}
	return nil
}

func (f field) set(text string) (err error) {
	switch v := f.at.(type) {
	case *int64:
		*v, err = strconv.ParseInt(text, 10, 64)
	case *uint64:
		*v, err = strconv.ParseUint(text, 10, 64)
	case *bool:
		*v, err = strconv.ParseBool(text)
	case *string:
		*v = text
	case *Mode:
		*v = Mode(text)
	case *Fault:
		ok := false
		if *v, ok = parseFault(text); !ok {
			err = fmt.Errorf("unknown fault %q", text)
		}
	case *model.Time:
		d, e := time.ParseDuration(text)
		*v, err = model.Time(d), e
	}
	return err
}
