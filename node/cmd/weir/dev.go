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
	var set []string
	c := &cobra.Command{
		Use: "dev", Short: "Start a broker for development", Args: cobra.NoArgs,
		Long: `Start one broker for development: Kafka's protocol on TCP and QUIC, health and metrics on HTTP, topics made
when they are first asked for. It is the same broker as in production: what it acknowledges is on the disk.

When it serves it prints one line, beginning with "ready", on stdout. Ctrl-C or SIGTERM stops it cleanly.`,
		Example: `  weir dev                                   data in ./weir-data
  weir dev --ephemeral                       data in a directory that is removed at the end
  weir dev --listen 127.0.0.1:0 --http ""    any free port, no HTTP
  weir dev --set num.partitions=4            any property of ` + "`weir node --help`",
		RunE: func(cmd *cobra.Command, _ []string) error {
			settings := []config.Setting{{Name: "group.initial.rebalance.delay.ms", Value: "0", From: "weir dev"}, {Name: "listeners", Value: listen, From: "--listen"}, {Name: "http.listener", Value: http, From: "--http"}}
			if ephemeral {
				if cmd.Flags().Changed("data") {
					return usage("--ephemeral keeps nothing, and --data says where to keep it: give one of them")
				}
				dir, err := os.MkdirTemp("", "weir-dev-")
				if err != nil {
					return err
				}
				defer func() {
					if err := os.RemoveAll(dir); err != nil {
						a.say("the ephemeral data directory could not be removed: %v", err)
					}
				}()
				data = filepath.Join(dir, "data")
			}
			settings = append(settings, config.Setting{Name: "log.dirs", Value: data, From: "--data"})
			conf, err := a.load("", settings, set)
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), conf, func(n *node.Node) { a.hints(n) })
		},
	}
	f := c.Flags()
	f.StringVar(&data, "data", "weir-data", "directory to keep the data in")
	f.BoolVar(&ephemeral, "ephemeral", false, "keep the data in a temporary directory and remove it at the end")
	f.StringVar(&listen, "listen", "127.0.0.1:9092", "HOST:PORT of Kafka's protocol, on TCP and QUIC; port 0 takes a free one")
	f.StringVar(&http, "http", "127.0.0.1:9644", `HOST:PORT of health and metrics; "" turns it off`)
	f.StringArrayVar(&set, "set", nil, "set a property, as NAME=VALUE; may be repeated")
	return c
}

// hints tells how to connect.
func (a *app) hints(n *node.Node) {
	addr := n.KafkaAddr()
	flag := ""
	if addr != defaultBroker {
		flag = " --brokers " + addr
	}
	a.say("")
	a.say("  any Kafka client   bootstrap.servers=%s", addr)
	weir := asCalled(os.Args[0])
	a.say("  try it             echo hello | %s produce greetings%s", weir, flag)
	a.say("                     %s consume greetings --offset start%s", weir, flag)
	if quic := n.QUICAddr(); quic != "" {
		a.say("  QUIC               UDP port %s; clients trust the certificate in %s", port(quic), n.CertificatePath())
		a.say("                     %s consume greetings --transport quic --ca %s%s", weir, n.CertificatePath(), flag)
	}
	if http := n.HTTPAddr(); http != "" {
		a.say("  health, metrics    http://%s/healthz  /readyz  /metrics", http)
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

func port(addr string) string {
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return p
}
