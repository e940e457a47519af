package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/weirmq/weir/node"
	"github.com/weirmq/weir/node/config"
)

func (a *app) devCommand() *cobra.Command {
	var data, listen, http string
	var ephemeral bool
	var nodes int
	var breaking chaosRun
	var set []string
	c := &cobra.Command{
		Use: "dev", Short: "Start a broker, or a cluster, for development", Args: cobra.NoArgs,
		Long: `Start one broker for development: Kafka's protocol on TCP and QUIC, health and metrics on HTTP, topics made
when they are first asked for. It is the same broker as in production: what it acknowledges is on the disk.

With --nodes 3 it is a cluster of three: three brokers, each with a data directory of its own (DATA/1, DATA/2, DATA/3) and
the next port (9092, 9093, 9094), which replicate, vote and take over from each other as three machines would. They are
all in this process and talk to each other in memory; clients see no difference. Of one or two nodes one votes, of three or
four three do, of more five. A data directory keeps the number of nodes that it was made with.

With --chaos the nodes are processes of their own, and one of them at a time is broken and mended, while a producer
(idempotent, acks=all) and a consumer use a topic with three replicas:

  kill        kill -9, and a start after 0 to 5 s
  restart     SIGTERM, and a start at once
  pause       SIGSTOP for up to 8 s, then SIGCONT
  cut         the others and the node do not hear each other, for up to 8 s; clients reach it
  cut-sends   the node hears the others, and they do not hear it
  cut-hears   they hear the node, and it does not hear them
  cut-link    two nodes do not hear each other, and the third hears both

Every record that was acknowledged must be read once, in order, and a member of a group, which commits, must be given every one
as well. Lines on stderr say what happens, and how it stands: lost and duplicated must be 0, and the worst gap is the longest time
in which a partition acknowledged nothing. The report in the end has the gaps of each kind of fault; the exit code is 1 if any
promise was broken, and then the directory is kept and named.

The data is in a temporary directory unless --data is given, the ports are any that are free unless --listen is, and there is no HTTP
unless --http says where.

When it serves it prints one line, beginning with "ready", on stdout. Ctrl-C or SIGTERM stops it cleanly.`,
		Example: `  weir dev                                   data in ./weir-data
  weir dev --nodes 3 --data cluster-data     a cluster: three brokers in one process
  weir dev --ephemeral                       data in a directory that is removed at the end
  weir dev --nodes 3 --chaos --for 1m        break it for a minute: is anything lost?
  weir dev --listen 127.0.0.1:0 --http ""    any free port, no HTTP
  weir dev --set num.partitions=4            any property of ` + "`weir node --help`",
		RunE: func(cmd *cobra.Command, _ []string) (failed error) {
			if err := checkDevNodes(nodes); err != nil {
				return err
			}
			isKept := cmd.Flags().Changed("data")
			if ephemeral && isKept {
				return usage("--ephemeral keeps nothing, and --data says where to keep it: give one of them")
			}
			if breaking.on || cmd.Flags().Changed("for") || cmd.Flags().Changed("seed") || cmd.Flags().Changed("rate") || cmd.Flags().Changed("faults") || cmd.Flags().Changed("nodes-transport") {
				if !breaking.on {
					return usage("--for, --seed, --rate, --faults and --nodes-transport are of --chaos")
				}
				if nodes == 1 && !cmd.Flags().Changed("nodes") {
					nodes = 3
				}
			}
			if ephemeral || breaking.on && !isKept {
				dir, err := os.MkdirTemp("", "weir-dev-")
				if err != nil {
					return err
				}
				defer func() {
					if breaking.on && failed != nil {
						return // somebody wants to look at it
					}
					if err := os.RemoveAll(dir); err != nil {
						a.say("the ephemeral data directory could not be removed: %v", err)
					}
				}()
				data = filepath.Join(dir, "data")
			}
			if breaking.on {
				if !cmd.Flags().Changed("listen") {
					listen = "127.0.0.1:0" // beside whatever runs
				}
				if !cmd.Flags().Changed("http") {
					http = ""
				}
				return a.runChaos(cmd.Context(), &breaking, data, isKept, nodes, listen, http, set)
			}
			cluster, err := openDevCluster(data, nodes)
			if err != nil {
				return err
			}
			settings := []config.Setting{{Name: "group.initial.rebalance.delay.ms", Value: "0", From: "weir dev"}}
			if nodes > 1 {
				confs, err := a.devConfigs(cluster, data, listen, http, settings, set)
				if err != nil {
					return err
				}
				return a.serveCluster(cmd.Context(), confs, data)
			}
			settings = append(settings, config.Setting{Name: "listeners", Value: listen, From: "--listen"},
				config.Setting{Name: "http.listener", Value: http, From: "--http"}, config.Setting{Name: "log.dirs", Value: data, From: "--data"})
			conf, err := a.load("", settings, set)
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), conf, func(n *node.Node) {
				a.hints(n.KafkaAddr(), n.QUICAddr(), n.HTTPAddr(), n.CertificatePath(), 1)
			})
		},
	}
	f := c.Flags()
	f.StringVar(&data, "data", "weir-data", "directory to keep the data in")
	f.BoolVar(&ephemeral, "ephemeral", false, "keep the data in a temporary directory and remove it at the end")
	f.IntVar(&nodes, "nodes", 1, "how many nodes, 1 to 9")
	f.BoolVar(&breaking.on, "chaos", false, "break the nodes one after the other, and check that nothing is lost; see above")
	f.DurationVar(&breaking.time, "for", 0, "of --chaos: how long; 0 until Ctrl-C")
	f.Uint64Var(&breaking.seed, "seed", 0, "of --chaos: which faults come, in which order, and for how long; 0 draws one")
	f.StringVar(&breaking.transport, "nodes-transport", "tcp", "of --chaos: how nodes reach each other; quic, which they do unless told otherwise, cannot be cut")
	f.StringSliceVar(&breaking.only, "faults", nil, "of --chaos: these only, such as kill,pause")
	f.IntVar(&breaking.rate, "rate", 1000, "of --chaos: records a second")
	f.StringVar(&listen, "listen", "127.0.0.1:9092", "HOST:PORT of Kafka's protocol, on TCP and QUIC; port 0 takes a free one")
	f.StringVar(&http, "http", "127.0.0.1:9644", `HOST:PORT of health and metrics; "" turns it off`)
	f.StringArrayVar(&set, "set", nil, "set a property, as NAME=VALUE; may be repeated")
	return c
}

// hints tells how to connect. Addresses are those of all nodes, with commas between them.
func (a *app) hints(kafka, quic, http, certificatePath string, nodes int) {
	flag, at := "", ""
	if first, _, _ := strings.Cut(kafka, ","); first != defaultBroker {
		flag = " --brokers " + kafka
	}
	if nodes > 1 {
		at = "s"
	}
	a.say("")
	a.say("  any Kafka client   bootstrap.servers=%s", kafka)
	weir := asCalled(os.Args[0])
	a.say("  try it             echo hello | %s produce greetings%s", weir, flag)
	a.say("                     %s consume greetings --offset start%s", weir, flag)
	if nodes > 1 {
		a.say("                     %s topic describe greetings%s", weir, flag)
	}
	if quic != "" && quic != "off" {
		a.say("  QUIC               UDP port%s %s; clients trust the certificate in %s", at, ports(quic), certificatePath)
		a.say("                     %s consume greetings --transport quic --ca %s%s", weir, certificatePath, flag)
	}
	if http != "" && http != "off" {
		for i, one := range strings.Split(http, ",") {
			label := ""
			if i == 0 {
				label = "health, metrics"
			}
			a.say("  %-17s  http://%s/healthz  /readyz  /metrics", label, one)
		}
	}
	a.say("  stop               Ctrl-C")
	a.say("")
}

// asCalled is how this program can be called again: by its path if it was called by one, since it may be nowhere that a
// shell looks.
func asCalled(arg0 string) string {
	if strings.ContainsRune(arg0, filepath.Separator) {
		return arg0
	}
	return "weir"
}

// ports are the ports of addresses.
func ports(addrs string) string {
	var all []string
	for addr := range strings.SplitSeq(addrs, ",") {
		if _, p, err := net.SplitHostPort(addr); err == nil {
			addr = p
		}
		all = append(all, addr)
	}
	return strings.Join(all, ", ")
}
